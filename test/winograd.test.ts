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

/** 3×3 layers around the tile sizes, ragged, padded unevenly, grouped, dilated. */
function problems(): GoldenProblem[] {
  const draw = new Draw(31);
  const floats = (length: number) =>
    Float32Array.from({ length }, () => draw.integer(-999, 999) / 512);
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
      const filter = { shape: [G * OCG, CG, 3, 3], data: floats(G * OCG * CG * 9) };
      // On an image of one pixel all of it.
      const pad = () => (H === 1 ? 1 : draw.integer(0, dilation + 1));
      const padding = { top: pad(), left: pad(), bottom: pad(), right: pad() };
      const bias = floats(G * OCG);
      all.push({ input, filter, padding, dilation: [dilation, dilation], groups: G, layout, bias });
    }
  }
  return all;
}

/** With what each is compared, whatever the instruction set. */
const cases = problems().map((problem) => {
  return { problem, golden: goldenConv2d(problem, 'float64'), bounds: boundsOf(problem) };
});

/** The bound of the docs for each output channel, with the largest input of all for its tile's. */
function boundsOf({ input, filter }: GoldenProblem): number[] {
  const largest = input.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const size = filter.data.length / (filter.shape[0] as number);
  return Array.from({ length: filter.shape[0] as number }, (_, oc) => {
    const weights = filter.data.subarray(oc * size, (oc + 1) * size);
    return 50 * 2 ** -24 * largest * weights.reduce((sum, w) => sum + Math.abs(w), 0);
  });
}

describe.each(availableIsas)('winograd on %s', (isa) => {
  test('is within its bound, both tile sizes and where auto takes it', () => {
    setIsa(isa);
    for (const { problem, golden, bounds } of cases) {
      const { data, shape } = golden;
      const [inner, channels] =
        problem.layout === 'nchw'
          ? [(shape[2] as number) * (shape[3] as number), shape[1] as number]
          : [1, shape[3] as number];
      const bound = (i: number) => bounds[Math.floor(i / inner) % channels] as number;
      for (const variant of ['winograd-f2', 'winograd-f4', null]) {
        setVariant(variant);
        const algorithm = variant === null ? 'auto' : 'winograd';
        const output = layerOf(problem, algorithm).runSync(problem.input);
        const message = `${variant ?? 'auto'} ${problem.input.shape} * ${problem.filter.shape}`;
        expect(firstBeyond(output.data, data, bound), message).toBeUndefined();
      }
    }
  });

  test('gives the same bits for any thread count, sync and async', async () => {
    setIsa(isa);
    for (const { problem } of cases) {
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

test('auto takes it for a large layer, exact does not, nor auto under a weight of Inf', () => {
  const data = new Float32Array(64 * 64 * 9);
  const shape = [1, 64, 56, 56];
  const filter = { shape: [64, 64, 3, 3], data };
  expect(new Conv2d(filter, { padding: 1 }).plan(shape).algorithm).toBe('winograd');
  expect(new Conv2d(filter, { padding: 1, algorithm: 'exact' }).plan(shape).algorithm).not.toBe(
    'winograd',
  );
  data[5] = Number.POSITIVE_INFINITY;
  expect(new Conv2d(filter).plan(shape).algorithm).not.toBe('winograd');
});

test('it is an error to ask for it where it cannot be', () => {
  const filter = { shape: [64, 64, 3, 3], data: new Float32Array(64 * 64 * 9) };
  const layer = new Conv2d(filter, { stride: 2, algorithm: 'winograd' });
  const error = expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' });
  expect(() => layer.plan([1, 64, 56, 56])).toThrow(error);
});
