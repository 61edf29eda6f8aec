/** The distance between the float32 numbers around `value`: 2^-149 below 2^-125. */
export function ulpOf(value: number): number {
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return 2 ** (Math.max(exponent, -126) - 23);
}
