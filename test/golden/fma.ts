const float64 = new Float64Array(1);
const words = new Uint32Array(float64.buffer);
const LOW = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
const HIGH = 1 - LOW;

/**
 * a · b + c of three float32 values, rounded once to float32: what a hardware FMA gives, bit for
 * bit.
 *
 * The product of two float32 is exact in double (48 bits of 53, no exponent out of range), so only
 * the sum can lose anything. TwoSum tells what it lost; where it lost something, rounding that sum
 * to odd keeps the fact in its last bit, and the second rounding, to 24 bits, cannot go wrong.
 */
export function fma(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const added = sum - product;
  const error = product - (sum - added) + (c - added);
  // Neither holds for an exact sum, nor for the NaN that Inf and NaN leave here.
  if (error > 0 || error < 0) return Math.fround(roundToOdd(sum, error));
  return Math.fround(sum);
}

/**
 * Of the two doubles around sum + error, where |error| is at most half an ulp of `sum`, the one
 * whose last bit is set. Never called with a denormal or zero `sum`: sums of float32 and of their
 * products are exact down there.
 */
function roundToOdd(sum: number, error: number): number {
  float64[0] = sum;
  const low = words[LOW] as number;
  if ((low & 1) === 1) return sum;
  if (error > 0 === sum > 0) {
    words[LOW] = low | 1;
  } else {
    words[LOW] = low - 1;
    if (low === 0) words[HIGH] = (words[HIGH] as number) - 1;
  }
  return float64[0];
}
