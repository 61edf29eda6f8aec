import { afterAll, describe, expect, test } from 'vitest';
import { Conv2d } from '../lib/conv2d.js';
import { info, setIsa, setThreads, setVariant } from '../lib/settings.js';
import { firstBeyond, firstDifference } from './difference.js';
import { goldenConv2d } from './golden/conv2d.js';
import type { GoldenProblem } from './golden/extents.js';
import { layerOf } from './library.js';
import { Draw } from './random.js';

const { availableIsas, isa: chosenIsa, cores, threads: chosenThreads } = info();

afterAll(() => {
  setIsa(chosenIsa);
  setVariant(null);
  setThreads(chosenThreads);
});

/** Layers of filters so broad around the tile sizes: ragged, padded unevenly, grouped, dilated. */
function problems(taps: 3 | 5): GoldenProblem[] {
  const draw = new Draw(31);
  const floats = (length: number) =>
    Float32Array.from({ length }, () => draw.integer(-999, 999) / 512);
  const half = (taps - 1) / 2;
  const all: GoldenProblem[] = [];
  for (const layout of ['nchw', 'nhwc'] as const) {
    for (const [N, G, CG, OCG, H, W, dilation] of [
      [1, 1, 32, 32, 1, 1, 1],
      [2, 1, 33, 47, 4, 5, 1],
      [1, 2, 32, 33, 7, 7, 1],
      [3, 1, 37, 32, 8, 13, 1],
      [1, 1, 64, 64, 9, 29, 1],
      [1, 3, 3, 1, 11, 10, 1],
      [2, 1, 17, 35, 10, 31, 2],
      [1, 2, 40, 36, 13, 17, 3],
      [1, 1, 5, 9, 19, 16, 4],
    ] as const) {
      const C = G * CG;
      const shape = layout === 'nchw' ? [N, C, H, W] : [N, H, W, C];
      const input = { shape, data: floats(N * C * H * W) };
      const filter = { shape: [G * OCG, CG, taps, taps], data: floats(G * OCG * CG * taps ** 2) };
      // On an image of one pixel all of it; and at least one output of a broad filter.
      const pad = () => (H === 1 ? half : draw.integer(half - 1, half * dilation + 1));
      const padding = { top: pad(), left: pad(), bottom: pad(), right: pad() };
      const bias = floats(G * OCG);
      all.push({ input, filter, padding, dilation: [dilation, dilation], groups: G, layout, bias });
    }
  }
  return all;
}

/** With what each is compared, whatever the instruction set. */
const casesOf = (taps: 3 | 5) =>
  problems(taps).map((problem) => ({ problem, golden: goldenConv2d(problem, 'float64') }));
const CASES = { 3: casesOf(3), 5: casesOf(5) };

/** Each variant of the algorithm, the filters it is for, and the factor of its bound in the docs. */
const VARIANTS = [
  ['winograd-f2', 3, 9],
  ['winograd-f4', 3, 50],
  ['winograd-f2-5x5', 5, 26],
] as const;

/** The bound of the docs for each output channel, with the largest input of all for its tile's. */
function boundsOf({ input, filter }: GoldenProblem, factor: number): number[] {
  const largest = input.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const size = filter.data.length / (filter.shape[0] as number);
  return Array.from({ length: filter.shape[0] as number }, (_, oc) => {
    const weights = filter.data.subarray(oc * size, (oc + 1) * size);
    return factor * 2 ** -24 * largest * weights.reduce((sum, w) => sum + Math.abs(w), 0);
  });
}

describe.each(availableIsas)('winograd on %s', (isa) => {
  test.each(VARIANTS)('%s is within its bound, and auto', (variant, taps, factor) => {
    setIsa(isa);
    for (const { problem, golden } of CASES[taps]) {
      const { data, shape } = golden;
      const [inner, channels] =
        problem.layout === 'nchw'
          ? [(shape[2] as number) * (shape[3] as number), shape[1] as number]
          : [1, shape[3] as number];
      const largest = Math.max(...VARIANTS.filter((row) => row[1] === taps).map((row) => row[2]));
      for (const forced of [variant, null]) {
        setVariant(forced);
        const bounds = boundsOf(problem, forced === null ? largest : factor);
        const bound = (i: number) => bounds[Math.floor(i / inner) % channels] as number;
        const layer = layerOf(problem, forced === null ? 'auto' : 'winograd');
        const message = `${forced ?? 'auto'} ${problem.input.shape} * ${problem.filter.shape}`;
        if (forced !== null) expect(layer.plan(problem.input.shape).variant).toBe(variant);
        const output = layer.runSync(problem.input);
        expect(firstBeyond(output.data, data, bound), message).toBeUndefined();
      }
    }
  });

  test.each([3, 5] as const)('%d taps, the same bits for any thread count', async (taps) => {
    setIsa(isa);
    setVariant(null);
    for (const { problem } of CASES[taps]) {
      setThreads(1);
      const { data } = layerOf(problem, 'winograd').runSync(problem.input);
      for (const threads of [2, cores + 3]) {
        setThreads(threads);
        const layer = layerOf(problem, 'winograd');
        expect(firstDifference(layer.runSync(problem.input).data, data)).toBeUndefined();
        expect(firstDifference((await layer.run(problem.input)).data, data)).toBeUndefined();
      }
    }
  });
});

test.each([
  [3, 1],
  [5, 2],
])(
  'auto takes it for a large layer of %d taps, exact does not, nor auto under a weight of Inf',
  (taps, padding) => {
    const data = new Float32Array(64 * 64 * taps ** 2);
    const shape = [1, 64, 56, 56];
    const filter = { shape: [64, 64, taps, taps], data };
    expect(new Conv2d(filter, { padding }).plan(shape).algorithm).toBe('winograd');
    expect(new Conv2d(filter, { padding, algorithm: 'exact' }).plan(shape).algorithm).not.toBe(
      'winograd',
    );
    data[5] = Number.POSITIVE_INFINITY;
    expect(new Conv2d(filter).plan(shape).algorithm).not.toBe('winograd');
  },
);

test.each([
  [3, 3, 2],
  [5, 5, 2],
  [3, 5, 1],
  [4, 4, 1],
])('it is an error to ask for it where it cannot be: %d×%d, stride %d', (KH, KW, stride) => {
  const filter = { shape: [64, 64, KH, KW], data: new Float32Array(64 * 64 * KH * KW) };
  const layer = new Conv2d(filter, { stride, algorithm: 'winograd' });
  const error = expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' });
  expect(() => layer.plan([1, 64, 56, 56])).toThrow(error);
});
