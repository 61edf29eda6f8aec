import type { Activation } from 'gemmconv';

/** What follows the sum, rounded to float32 at every operation: bias, residual, activation. */
export function finish32(
  sum: number,
  bias: number,
  add: number | undefined,
  activation: Activation,
): number {
  const biased = Math.fround(sum + bias);
  const added = add === undefined ? biased : Math.fround(biased + add);
  return activate(added, activation, Math.fround);
}

export function finish64(sum: number, activation: Activation): number {
  return activate(sum, activation, (value) => value);
}

function activate(v: number, activation: Activation, round: (value: number) => number): number {
  switch (activation) {
    case 'none':
      return v;
    case 'relu':
      return clamp(v, 0, Number.POSITIVE_INFINITY);
    case 'relu6':
      return clamp(v, 0, 6);
    case 'hardSwish':
      return round(round(v * clamp(round(v + 3), 0, 6)) / 6);
    case 'sigmoid':
      return round(1 / (1 + Math.exp(-v)));
    case 'silu':
      // The limit at −∞ is −0, where the quotient would be NaN.
      return v === Number.NEGATIVE_INFINITY ? -0 : round(v / (1 + Math.exp(-v)));
    case 'tanh':
      return round(Math.tanh(v));
    default:
      return activateWith(v, activation, round);
  }
}

function activateWith(
  v: number,
  activation: Exclude<Activation, string>,
  round: (value: number) => number,
): number {
  if (activation.type === 'clamp') return clamp(v, round(activation.min), round(activation.max));
  return v < 0 ? round(round(activation.alpha) * v) : v;
}

/** In this order and with these comparisons NaN passes, and so does −0 over a bound of 0. */
function clamp(v: number, low: number, high: number): number {
  if (v < low) return low;
  if (v > high) return high;
  return v;
}
