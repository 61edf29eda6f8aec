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
const FIRST_SEED = Number(process.env.GEMMCONV_TEST_SEED ?? 1);
const SWEEP: readonly (readonly [Kind, number])[] = [
  ['general', 300],
  ['grouped', 100],
  ['deep', 80],
  ['wide', 60],
  ['large', 8],
  ['blocks', 12],
  ['padded', 40],
  ['narrow', 100],
  ['colliding', 30],
  ['planes', 60],
  ['pairs', 225],
  ['images', 150],
];

const ALGORITHMS = ['exact', 'gemm', 'direct', 'depthwise'] as const;
const { availableIsas, isa: chosenIsa, cores, threads: chosenThreads } = info();
/** More threads than cores too: they must agree even when they cannot all run at once. */
const THREADS = [...Array.from({ length: Math.min(cores, 4) }, (_, i) => i + 1), cores + 3];

/** A problem and the judge of its answers, which says what is wrong with one, if anything is. */
interface Case {
  readonly problem: Problem;
  judge(output: Tensor): string | undefined;
}

type Run = (layer: Conv2d, problem: Problem) => Tensor | Promise<Tensor>;

const problems = SWEEP.flatMap(([kind, count], k) =>
  Array.from({ length: count }, (_, i) => randomProblem(FIRST_SEED * 1e6 + k * 1e4 + i, kind)),
);

afterAll(() => {
  setIsa(chosenIsa);
  setVariant(null);
  setThreads(chosenThreads);
});

const golden32 = lazily((problem) => goldenConv2d(problem, 'fma32'));
const golden64 = lazily((problem) => goldenConv2d(problem, 'float64'));

describe.each(availableIsas)('%s', (isa) => {
  const cases = problems.map((problem) => (hasFma(isa) ? sameBits(problem) : withinBound(problem)));

  beforeAll(() => setIsa(isa));

  // The plan takes but the likely ones of an algorithm's variants.
  test.each(variants())('variant %s, wherever it is exact', (variant) => {
    setThreads(cores);
    setVariant(variant);
    const wrong: string[] = [];
    for (const { problem, judge } of cases) {
      const layer = layerOf(problem, 'exact');
      if (!canPlan(layer, problem.input.shape)) continue;
      const fault = judge(layer.runSync(problem.input, { add: problem.add }));
      if (fault !== undefined) wrong.push(`${describeProblem(problem)}: ${fault}`);
    }
    setVariant(null);
    expect(wrong.slice(0, 5), `${wrong.length} are wrong`).toEqual([]);
  });

  describe.each(ALGORITHMS)('%s', (algorithm) => {
    const expectAll = async (run: Run) => {
      const wrong: string[] = [];
      const possible = cases.filter(({ problem }) => canCompute(algorithm, problem));
      expect(possible.length).toBeGreaterThan(20);
      for (const { problem, judge } of possible) {
        const fault = judge(await run(layerOf(problem, algorithm), problem));
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

function sameBits(problem: Problem): Case {
  return {
    problem,
    judge: ({ data }) => firstDifference(data, golden32(problem).data),
  };
}

/**
 * Without FMA each tap rounds twice: K products and K additions, then bias and residual, each
 * within 2^-24 of no more than the magnitude; the steepest activation of the sweep is hardSwish,
 * of slope at most 1.5 and with roundings of its own.
 */
function withinBound(problem: Problem): Case {
  const { CG, KH, KW } = extentsOf(problem);
  const relative = 1.5 * (CG * KH * KW + 6) * 2 ** -24;
  const judge = ({ data }: Tensor) => {
    const { data: expected, magnitude } = golden64(problem);
    return firstBeyond(data, expected, (i) => relative * (magnitude[i] as number));
  };
  return { problem, judge };
}

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
