/** Maps values to positions along an axis. */
export interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** What a log axis has lines at, in each decade. */
const DECADES = [1];
export const STEPS = [1, 2, 5];

/** From the last tick below all of `values` to the first above; what lies beyond is moved there. */
export function logScale(
  values: readonly number[],
  from: number,
  to: number,
  steps: readonly number[] = DECADES,
): Scale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  if (positive.length === 0) return logScale([1, 10], from, to);
  const [least, most] = [Math.min(...positive), Math.max(...positive)];
  const first = Math.floor(Math.log10(least)) - 1;
  const last = Math.ceil(Math.log10(most)) + 1;
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i).flatMap((exponent) =>
    steps.map((step) => Number(`${step}e${exponent}`)),
  );
  const begin = all.findLastIndex((tick) => tick <= least * (1 + 1e-9));
  const end = all.findIndex((tick, i) => tick >= most * (1 - 1e-9) && i > begin);
  const ticks = all.slice(begin, end + 1);
  const [low, high] = [Math.log10(all[begin] as number), Math.log10(all[end] as number)];
  return {
    at: (value) => {
      const exponent = Math.min(high, Math.max(low, Math.log10(value)));
      return from + ((to - from) * (exponent - low)) / (high - low);
    },
    ticks,
  };
}

export function linearScale(low: number, high: number, from: number, to: number): Scale {
  return {
    at: (value) => from + ((to - from) * (value - low)) / (high - low || 1),
    ticks: Array.from({ length: Math.floor(high - low) + 1 }, (_, i) => low + i),
  };
}

/** 0.1, 1, 10, 1000; below a thousandth 10⁻⁶. */
export function tickLabel(value: number): string {
  if (value === 0 || (value >= 1e-3 && value < 1e6)) return `${Number(value.toPrecision(3))}`;
  const exponent = Math.round(Math.log10(value));
  const digits = [...`${exponent}`].map((digit) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(digit)]);
  return `10${digits.join('')}`;
}
