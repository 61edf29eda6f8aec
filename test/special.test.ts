import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { info, setIsa } from '../lib/settings.js';
import type { Tensor } from '../lib/types.js';
import { firstDifference } from './difference.js';
import { goldenConv2d } from './golden/conv2d.js';
import type { GoldenProblem } from './golden/extents.js';
import { hasFma, layerOf } from './library.js';
import { Draw } from './random.js';

const ALGORITHMS = ['auto', 'exact', 'gemm', 'direct'] as const;
const PADDING = { top: 2, left: 1, bottom: 1, right: 3 };
const { isa: chosenIsa, availableIsas } = info();

afterAll(() => setIsa(chosenIsa));

describe.each(availableIsas)('%s', (isa) => {
  beforeAll(() => setIsa(isa));

  // Small integers: their sums are exact without FMA too, so every instruction set must agree.

  test('Inf and NaN in the input stay within reach of the filter', () => {
    for (const problem of integerProblems()) {
      poison(problem.input.data, 61);
      expectGolden(problem);
    }
  });

  test('Inf and NaN weights over the padding contribute nothing', () => {
    for (const problem of integerProblems()) {
      poison(problem.filter.data, 97);
      expectGolden(problem);
    }
  });

  test('denormals are not flushed to zero', () => {
    for (const problem of integerProblems()) {
      const { data } = problem.input;
      for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) * 2 ** -149;
      expectGolden({ ...problem, bias: undefined });
      const scaled = { ...problem.filter, data: problem.filter.data.map((w) => w * 2 ** 124) };
      expectGolden({ ...problem, filter: scaled });
    }
  });

  test('a sum of zeros is +0, whatever their signs', () => {
    for (const problem of integerProblems()) {
      problem.input.data.fill(-0);
      const { data } = layerOf({ ...problem, bias: undefined }, 'exact').runSync(problem.input);
      expect(firstDifference(data, new Float32Array(data.length))).toBeUndefined();
      expectGolden({ ...problem, bias: undefined });
      expectGolden({ ...problem, bias: problem.bias?.map(() => -0) });
    }
  });

  // A chain of FMAs may underflow to -0, which shows under a bias of -0 alone: there a padded tap
  // has to be skipped, for adding its zero would make +0.
  test.runIf(hasFma(isa))('a sum may underflow to -0', () => {
    for (const problem of integerProblems()) {
      problem.input.data.fill(-(2 ** -100));
      problem.filter.data.fill(2 ** -100);
      expectGolden({ ...problem, bias: undefined });
      expectGolden({ ...problem, bias: problem.bias?.map(() => -0) });
    }
  });

  test('an empty batch gives an empty output', () => {
    for (const layout of ['nchw', 'nhwc'] as const) {
      const filter = { shape: [3, 5, 3, 3], data: new Float32Array(135).fill(1) };
      const shape = layout === 'nchw' ? [0, 5, 8, 9] : [0, 8, 9, 5];
      const input = { shape, data: new Float32Array(0) };
      for (const algorithm of ALGORITHMS) {
        const output = layerOf({ input, filter, layout }, algorithm).runSync(input);
        expect(output.shape).toEqual(layout === 'nchw' ? [0, 3, 6, 7] : [0, 6, 7, 3]);
        expect(output.data).toHaveLength(0);
      }
    }
  });

  test('without channels the output is what follows the sum', () => {
    const filter = { shape: [3, 0, 3, 3], data: new Float32Array(0) };
    const input = { shape: [2, 0, 5, 6], data: new Float32Array(0) };
    const bias = Float32Array.of(1, -2, -0);
    const add = Float32Array.from({ length: 2 * 3 * 3 * 4 }, (_, i) => i - 20);
    expectGolden({ input, filter });
    expectGolden({ input, filter, bias, activation: 'relu' });
    expectGolden({ input, filter, bias, add });
  });
});

/** Every algorithm must give the golden bits, or refuse where it cannot. */
function expectGolden(problem: GoldenProblem): void {
  const { input, filter, layout, add } = problem;
  const golden = goldenConv2d(problem, 'fma32');
  for (const algorithm of ALGORITHMS) {
    const layer = layerOf(problem, algorithm);
    if (algorithm === 'gemm' && mustSkipPadding(problem)) {
      const error = expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' });
      expect(() => layer.runSync(input, { add })).toThrow(error);
      continue;
    }
    const output = layer.runSync(input, { add });
    const message = `${algorithm}, ${input.shape.join('×')} * ${filter.shape.join('×')}, ${layout}`;
    expect(firstDifference(output.data, golden.data), message).toBeUndefined();
    expect(output.shape).toEqual(golden.shape);
  }
}

/** GEMM multiplies by the zeros of the padding, and declines where that could change a result. */
function mustSkipPadding({ filter, bias, padding }: GoldenProblem): boolean {
  const finite = filter.data.every(Number.isFinite);
  return padding !== undefined && (!finite || (bias ?? []).some((value) => Object.is(value, -0)));
}

/** Padded on every side, in both layouts, with and without groups, narrow and wide. */
function integerProblems(): GoldenProblem[] {
  const draw = new Draw(20);
  const integers = (length: number) => Float32Array.from({ length }, () => draw.integer(-8, 8));
  const tensor = (shape: readonly number[]): Tensor => ({
    shape,
    data: integers(shape.reduce((a, b) => a * b)),
  });
  const problems: GoldenProblem[] = [];
  for (const layout of ['nchw', 'nhwc'] as const) {
    for (const [C, CG, OC] of [
      [3, 3, 5],
      [17, 17, 33],
      [6, 1, 12],
      [4, 2, 66],
    ] as const) {
      for (const [H, W] of [
        [1, 5],
        [3, 19],
      ] as const) {
        const input = tensor(layout === 'nchw' ? [2, C, H, W] : [2, H, W, C]);
        const common = { input, padding: PADDING, groups: C / CG, layout, bias: integers(OC) };
        problems.push({ ...common, filter: tensor([OC, CG, 3, 3]) });
        problems.push({ ...common, filter: tensor([OC, CG, 2, 5]), stride: [1, 2] });
      }
    }
  }
  return problems;
}

/** Makes every `period`th value, the first and the last among them, +Inf, −Inf or NaN. */
function poison(data: Float32Array, period: number): void {
  const values = [Number.POSITIVE_INFINITY, Number.NaN, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < data.length; i += period) data[i] = values[(i / period) % 3] as number;
  data[data.length - 1] = Number.NEGATIVE_INFINITY;
}
