import { expect, test } from 'vitest';
import { mulberry32 } from '../random.js';
import { fma } from './fma.js';

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);

function fromBits(bits: number): number {
  bits32[0] = bits;
  return float32[0] as number;
}

/** A finite float32 as an integer count of 2^-149, its smallest denormal. */
function toInteger(value: number): bigint {
  float32[0] = value;
  const bits = bits32[0] as number;
  const exponent = (bits >>> 23) & 0xff;
  const fraction = BigInt(bits & 0x7fffff);
  const magnitude = exponent === 0 ? fraction : (fraction + (1n << 23n)) << BigInt(exponent - 1);
  return value < 0 ? -magnitude : magnitude;
}

/** numerator · 2^-298 to the nearest float32, ties to even, by integer arithmetic alone. */
function nearestFloat32(numerator: bigint): number {
  const magnitude = numerator < 0n ? -numerator : numerator;
  const bitLength = magnitude.toString(2).length;
  // A float32 keeps 24 bits, and none below 2^-149.
  const dropped = BigInt(Math.max(bitLength - 24, 298 - 149));
  const half = 1n << (dropped - 1n);
  const remainder = magnitude & ((half << 1n) - 1n);
  let kept = magnitude >> dropped;
  if (remainder > half || (remainder === half && (kept & 1n) === 1n)) kept += 1n;
  // At most 25 bits and a power of two: the product is exact, or overflows to infinity in fround.
  const value = Math.fround(Number(kept) * 2 ** (Number(dropped) - 298));
  return numerator < 0n ? -value : value;
}

/** The definition of fma for finite arguments. */
function exactFma(a: number, b: number, c: number): number {
  const exact = toInteger(a) * toInteger(b) + (toInteger(c) << 149n);
  // IEEE 754 gives an exact zero the sign that the two addends share, or plus.
  return exact === 0n ? a * b + c : nearestFloat32(exact);
}

function expectExact(a: number, b: number, c: number): void {
  const expected = exactFma(a, b, c);
  if (!Object.is(fma(a, b, c), expected)) {
    expect.fail(`fma(${a}, ${b}, ${c}) is ${fma(a, b, c)}, must be ${expected}`);
  }
}

test('agrees with rational arithmetic on numbers of every size', () => {
  const random = mulberry32(1);
  const finite = () => {
    for (;;) {
      const value = fromBits(random() * 2 ** 32);
      if (Number.isFinite(value)) return value;
    }
  };
  for (let i = 0; i < 20_000; i++) expectExact(finite(), finite(), finite());
});

test('agrees where product and addend overlap, cancel and tie', () => {
  const random = mulberry32(2);
  // Few significant bits make ties common; near exponents make cancellation common.
  const sparse = (spread: number) => {
    const bits = Math.floor(random() * 2 ** Math.floor(random() * 25)) * 2 + 1;
    const scale = 2 ** Math.floor((random() - 0.5) * spread);
    return Math.fround((random() < 0.5 ? -bits : bits) * scale);
  };
  for (let i = 0; i < 40_000; i++) {
    const a = sparse(20);
    const b = sparse(20);
    expectExact(a, b, sparse(80));
    expectExact(a, b, Math.fround(-a * b));
    expectExact(a, b, Math.fround(-a * b * (1 + 2 ** -23)));
  }
});

test('agrees where a double rounding would go wrong', () => {
  // The double nearest to the exact sum is a tie of float32; what fell off beyond its 53 bits must
  // break the tie.
  for (const sign of [1, -1]) {
    for (const tiny of [2 ** -60, -(2 ** -60), 2 ** -120, -(2 ** -120)]) {
      for (const odd of [0, 2 ** -23]) {
        const a = Math.fround(1 + odd);
        const tie = Math.fround(sign * (2 ** 24 * a));
        expectExact(Math.fround(tiny), 1, tie);
        expectExact(sign * (1 + 2 ** -12), 1 + 2 ** -12, tiny);
        expectExact(sign * (1 + 2 ** -12), 1 + 2 ** -12, -sign);
        expectExact(sign * 4097, 4097, Math.fround(sign * tiny * 2 ** 40));
      }
    }
  }
});

test('agrees on denormal results and at the top of the range', () => {
  const random = mulberry32(3);
  const smallest = 2 ** -149;
  const largest = fromBits(0x7f7fffff);
  for (let i = 0; i < 20_000; i++) {
    const a = Math.fround((random() - 0.5) * 2 ** -60);
    const b = Math.fround((random() - 0.5) * 2 ** -80);
    expectExact(a, b, Math.floor((random() - 0.5) * 2 ** Math.floor(random() * 26)) * smallest);
    const big = Math.fround(random() * 2 ** 64);
    expectExact(big, 2 ** 64, random() < 0.5 ? largest : -largest);
  }
  expect(fma(smallest, 0.5, 0)).toBe(0);
  expect(fma(smallest, 0.5, smallest)).toBe(2 * smallest);
  expect(fma(smallest, 0.75, 0)).toBe(smallest);
  expect(fma(largest, 1, 2 ** 102)).toBe(largest);
  expect(fma(largest, 1, 2 ** 103)).toBe(Number.POSITIVE_INFINITY);
  expect(fma(largest, 2, -largest)).toBe(largest);
});

test('keeps the signs of zero', () => {
  expect(fma(0, -1, -0)).toBe(-0);
  expect(fma(0, -1, 0)).toBe(0);
  expect(fma(1, 1, -1)).toBe(0);
  expect(fma(-(2 ** -100), 2 ** -100, 0)).toBe(-0);
});

test('treats infinity and NaN as the hardware does', () => {
  const infinity = Number.POSITIVE_INFINITY;
  expect(fma(infinity, 1, 1)).toBe(infinity);
  expect(fma(infinity, -1, 1)).toBe(-infinity);
  expect(fma(1, 1, -infinity)).toBe(-infinity);
  expect(fma(infinity, 0, 1)).toBeNaN();
  expect(fma(infinity, 1, -infinity)).toBeNaN();
  expect(fma(Number.NaN, 0, 1)).toBeNaN();
});
