import { expect, test } from 'vitest';
import { placesOf } from '../bench/check.js';
import { LAYERS, SEED } from '../bench/layers.js';
import { makeWorkload, problemOf } from '../bench/workload.js';
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
