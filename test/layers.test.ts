import { expect, test } from 'vitest';
import { placesOf } from '../bench/check.js';
import { LAYERS, SEED } from '../bench/layers.js';
import { makeWorkload, problemOf } from '../bench/workload.js';
import { Conv2d } from '../lib/conv2d.js';
import { info } from '../lib/settings.js';
import { firstDifference } from './difference.js';
import { outputSum } from './golden/conv2d.js';
import { finish32 } from './golden/epilogue.js';
import { extentsOf } from './golden/extents.js';
import { canCompute, hasFma, layerOf } from './library.js';

// Problems of full size cross every cache block and give every thread work; the sweep cannot
// afford them. Here the golden reference computes some hundred outputs of each.
const PLACES = 100;

test.runIf(hasFma(info().isa)).each([SEED, ...LAYERS])('$name', (layer) => {
  const workload = makeWorkload(layer);
  const problem = problemOf(workload);
  const extents = extentsOf(problem);
  const { n: atN, c: atC, h: atH, w: atW } = extents.outputAt;
  const places = placesOf(workload).slice(0, PLACES);
  const expected = places.map(([n, oc, oh, ow]) => {
    const sum = outputSum(problem, extents, n, oc, oh, ow, 'fma32');
    return finish32(sum, workload.bias[oc] as number, undefined, 'none');
  });
  for (const algorithm of ['exact', 'gemm', 'direct', 'depthwise'] as const) {
    if (!canCompute(algorithm, problem)) continue;
    const { data } = layerOf(problem, algorithm).runSync(problem.input);
    const actual = places.map(([n, oc, oh, ow]) => data[n * atN + oc * atC + oh * atH + ow * atW]);
    const floats = Float32Array.from(actual as number[]);
    const message = `${algorithm}, index into the places looked at`;
    expect(firstDifference(floats, Float32Array.from(expected)), message).toBeUndefined();
  }
});

test('a batch larger than the caches has the bits of its images', () => {
  const [channels, side] = [144, 56];
  const shape = [1, side, side, channels];
  const image = Float32Array.from({ length: side * side * channels }, (_, i) => Math.sin(i));
  const filter = Float32Array.from({ length: channels * 9 }, (_, i) => Math.cos(i));
  const { l2, l3 } = info().cacheBytes;
  // No more than a small machine's memory has room for.
  const bytes = Math.min(Math.max(l2, l3), 2 ** 28);
  const batch = Math.ceil(bytes / image.byteLength);
  const data = new Float32Array(batch * image.length);
  for (let n = 0; n < batch; n++) data.set(image, n * image.length);
  for (const stride of [1, 2]) {
    const layer = new Conv2d(
      { data: filter, shape: [channels, 1, 3, 3] },
      { groups: channels, layout: 'nhwc', padding: 1, stride, algorithm: 'depthwise' },
    );
    const one = layer.runSync({ data: image, shape }).data;
    const all = layer.runSync({ data, shape: [batch, side, side, channels] }).data;
    for (let n = 0; n < batch; n++) {
      const part = all.subarray(n * one.length, (n + 1) * one.length) as Float32Array;
      expect(firstDifference(part, one as Float32Array), `image ${n}`).toBeUndefined();
    }
  }
});

// Where L3 is far, few filters at a time sweep over many pixels then.
test('a short sum whose outputs leave L2 has the bits of a few filters at a time', () => {
  const [channels, side, few] = [11, 61, 23];
  const shape = [1, channels, side, side];
  const data = Float32Array.from({ length: channels * side * side }, (_, i) => Math.sin(i));
  const parts = Math.ceil((5 * Math.min(info().cacheBytes.l2, 2 ** 22)) / (4 * few * side * side));
  const filters = parts * few;
  const filter = Float32Array.from({ length: filters * channels }, (_, i) => Math.cos(i));
  const layer = (first: number, count: number) =>
    new Conv2d(
      {
        data: filter.subarray(first * channels, (first + count) * channels),
        shape: [count, channels, 1, 1],
      },
      { algorithm: 'gemm' },
    );
  const all = layer(0, filters).runSync({ data, shape }).data;
  for (let first = 0; first < filters; first += few) {
    const part = layer(first, few).runSync({ data, shape }).data as Float32Array;
    const same = all.subarray(first * side * side, (first + few) * side * side) as Float32Array;
    expect(firstDifference(same, part), `filters from ${first} on`).toBeUndefined();
  }
});
