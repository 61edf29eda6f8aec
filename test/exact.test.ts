import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canPlan } from '../bench/plannable.js';
import type { Conv2d } from '../lib/conv2d.js';
import { info, setIsa, setThreads, setVariant, variants } from '../lib/settings.js';
import type { Tensor } from '../lib/types.js';
import { firstBeyond, firstDifference } from './difference.js';
import { goldenConv2d } from './golden/conv2d.js';
import { extentsOf } from './golden/extents.js';
import { canCompute, hasFma, imageOf, layerOf } from './library.js';
import { describeProblem, type Kind, type Problem, randomProblem } from './problems.js';

// Another seed draws other problems: GEMMCONV_TEST_SEED=7 npx vitest run test/exact
// As many as CI draws, of which these are the first of each kind: GEMMCONV_SWEEP=3 …
const MORE = Number(process.env.GEMMCONV_SWEEP ?? 1);
const FIRST_SEED = Number(process.env.GEMMCONV_TEST_SEED ?? 1);
const SWEEP: readonly (readonly [Kind, number])[] = [
  ['general', 100],
  ['grouped', 34],
  ['deep', 27],
  ['wide', 20],
  ['large', 3],
  ['blocks', 4],
  ['padded', 14],
  ['narrow', 34],
  ['colliding', 10],
  ['planes', 20],
  ['pairs', 75],
  ['images', 50],
];

const ALGORITHMS = ['exact', 'gemm', 'direct', 'depthwise'] as const;
const { availableIsas, isa: chosenIsa, cores, threads: chosenThreads } = info();
/** More threads than cores too: they must agree even when they cannot all run at once. */
const THREADS = [...Array.from({ length: Math.min(cores, 4) }, (_, i) => i + 1), cores + 3];

type Run = (layer: Conv2d, problem: Problem) => Tensor | Promise<Tensor>;

const problems = SWEEP.flatMap(([kind, count], k) =>
  Array.from({ length: count * MORE }, (_, i) =>
    randomProblem(FIRST_SEED * 1e6 + k * 1e4 + i, kind),
  ),
);

afterAll(() => {
  setIsa(chosenIsa);
  setVariant(null);
  setThreads(chosenThreads);
});

const fused = lazily((problem) => goldenConv2d(problem, 'fma32').data);
const rounded = lazily((problem) => goldenConv2d(problem, 'twice32').data);

describe.each(availableIsas)('%s', (isa) => {
  // Without FMA the bits are others, but as much the same ones for every algorithm.
  const golden = hasFma(isa) ? fused : rounded;

  beforeAll(() => setIsa(isa));

  // The plan takes but the likely ones of an algorithm's variants.
  test.each(variants())('variant %s, wherever it is exact', (variant) => {
    setThreads(cores);
    setVariant(variant);
    const wrong: string[] = [];
    for (const problem of problems) {
      const layer = layerOf(problem, 'exact');
      if (!canPlan(layer, problem.input.shape)) continue;
      const { data } = layer.runSync(problem.input, { add: problem.add });
      const fault = firstDifference(data, golden(problem));
      if (fault !== undefined) wrong.push(`${describeProblem(problem)}: ${fault}`);
    }
    setVariant(null);
    expect(wrong.slice(0, 5), `${wrong.length} are wrong`).toEqual([]);
  });

  describe.each(ALGORITHMS)('%s', (algorithm) => {
    const expectAll = async (run: Run) => {
      const wrong: string[] = [];
      const possible = problems.filter((problem) => canCompute(algorithm, problem));
      expect(possible.length).toBeGreaterThan(20);
      for (const problem of possible) {
        const { data } = await run(layerOf(problem, algorithm), problem);
        const fault = firstDifference(data, golden(problem));
        if (fault !== undefined) wrong.push(`${describeProblem(problem)}: ${fault}`);
      }
      expect(wrong.slice(0, 5), `${wrong.length} of ${possible.length} are wrong`).toEqual([]);
    };

    test.each(THREADS)('runSync, %i threads', async (threads) => {
      setThreads(threads);
      await expectAll((layer, { input, add }) => layer.runSync(input, { add }));
    });

    test('run, into a given array', async () => {
      setThreads(cores);
      await expectAll((layer, { input, add }) => {
        const size = layer.outputShape(input.shape).reduce((a, b) => a * b);
        return layer.run(input, { add, out: new Float32Array(size).fill(Number.NaN) });
      });
    });

    test('one image at a time', async () => {
      setThreads(cores);
      await expectAll(imageByImage);
    });
  });
});

// Each tap rounds twice there: K products and K additions, then bias and residual, each within 2^-24 of
// no more than the magnitude; the steepest activation of the sweep is hardSwish, of slope at most 1.5
// and with roundings of its own.
test('the chain without FMA is within the bound that the documentation states', () => {
  for (const problem of problems.filter(({ kind }) => ['general', 'deep'].includes(kind))) {
    const { CG, KH, KW } = extentsOf(problem);
    const relative = 1.5 * (CG * KH * KW + 6) * 2 ** -24;
    const { data, magnitude } = goldenConv2d(problem, 'float64');
    const bound = (i: number) => relative * (magnitude[i] as number);
    expect(firstBeyond(rounded(problem), data, bound), describeProblem(problem)).toBeUndefined();
  }
});

function imageByImage(layer: Conv2d, { input, add }: Problem): Tensor {
  const shape = layer.outputShape(input.shape);
  const whole = { shape, data: new Float32Array(shape.reduce((a, b) => a * b)) };
  for (let n = 0; n < (input.shape[0] as number); n++) {
    const residual = add && imageOf({ shape, data: add }, n).data;
    layer.runSync(imageOf(input, n), { add: residual, out: imageOf(whole, n).data });
  }
  return whole;
}

/** The golden result of each problem, computed when first needed and kept. */
function lazily<Result>(compute: (problem: Problem) => Result): (problem: Problem) => Result {
  const results = new Map<Problem, Result>();
  return (problem) => {
    let result = results.get(problem);
    if (result === undefined) {
      result = compute(problem);
      results.set(problem, result);
    }
    return result;
  };
}
