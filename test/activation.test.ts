import { afterAll, describe, expect, test } from 'vitest';
import { info, setIsa } from '../lib/settings.js';
import type { Activation, Algorithm, Tensor } from '../lib/types.js';
import { firstBeyond, firstDifference } from './difference.js';
import { goldenConv2d } from './golden/conv2d.js';
import { ulpOf } from './golden/ulp.js';
import { hasFma, layerOf } from './library.js';

/** Largest error, in units in the last place of the true value. */
const BOUND = 3;
/** silu multiplies by a sigmoid that may be denormal, of few bits: what that can cost besides. */
const DENORMAL_SLACK = { sigmoid: 0, tanh: 0, silu: 2 ** -142 };
const TRANSCENDENTAL = ['sigmoid', 'tanh', 'silu'] as const;
const EXACT: readonly Activation[] = [
  'none',
  'relu',
  'relu6',
  'hardSwish',
  { type: 'clamp', min: -1.5, max: Number.POSITIVE_INFINITY },
  { type: 'leakyRelu', alpha: 0.1 },
  { type: 'leakyRelu', alpha: -3 },
];
const ALGORITHMS = ['exact', 'gemm', 'direct'] as const;
const { isa: chosenIsa, availableIsas } = info();

afterAll(() => setIsa(chosenIsa));

/** Two output channels, so that vector lanes full and partly filled both occur on either axis. */
const FILTER = { shape: [2, 1, 1, 1], data: Float32Array.of(1, 1) };
const VALUES = Float32Array.from([
  ...Array.from({ length: 2200 }, (_, i) => (i - 1100) / 10 + Math.PI / 100),
  ...Array.from({ length: 2000 }, (_, i) => (i - 1000) / 500),
  ...Array.from({ length: 150 }, (_, i) => 2 ** -i),
  ...Array.from({ length: 150 }, (_, i) => -(2 ** -i)),
  ...[1e30, -1e30, 3.4e38, -3.4e38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
]);
const INPUT: Tensor = { shape: [1, 1, 1, VALUES.length], data: VALUES };

function apply(isa: string, activation: Activation, algorithm: Algorithm): Float32Array {
  setIsa(isa);
  return layerOf({ input: INPUT, filter: FILTER, activation }, algorithm).runSync(INPUT).data;
}

describe.each(availableIsas)('%s', (isa) => {
  test.each(EXACT.map((activation) => [JSON.stringify(activation), activation] as const))(
    '%s rounds as defined',
    (_, activation) => {
      const golden = goldenConv2d({ input: INPUT, filter: FILTER, activation }, 'fma32');
      for (const algorithm of ALGORITHMS) {
        const output = apply(isa, activation, algorithm);
        expect(firstDifference(output, golden.data), algorithm).toBeUndefined();
      }
    },
  );

  test.each(TRANSCENDENTAL)(`%s is within ${BOUND} ulp`, (activation) => {
    const { data } = goldenConv2d({ input: INPUT, filter: FILTER, activation }, 'float64');
    for (const algorithm of ALGORITHMS) {
      const output = apply(isa, activation, algorithm);
      const bound = (i: number) => BOUND * ulpOf(data[i] as number) + DENORMAL_SLACK[activation];
      expect(firstBeyond(output, data, bound), algorithm).toBeUndefined();
    }
  });

  test.each(TRANSCENDENTAL)('%s has the bits of every other FMA instruction set', (activation) => {
    const reference = availableIsas.find(hasFma);
    if (reference === undefined || !hasFma(isa)) return;
    const expected = apply(reference, activation, 'exact');
    for (const algorithm of ALGORITHMS) {
      const output = apply(isa, activation, algorithm);
      expect(firstDifference(output, expected), algorithm).toBeUndefined();
    }
  });
});
