// What must hold of any convolution, checked on ones that fast-check draws (drawn.ts).
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { Conv2d, conv2d, conv2dSync, getThreads, info, setThreads } from '../lib/index.js';
import type { Tensor } from '../lib/types.js';
import { firstDifference } from './difference.js';
import {
  type Drawn,
  drawn,
  type Four,
  type Problem,
  parameters,
  problemOf,
  sizeOf,
  upTo,
} from './drawn.js';
import { goldenConv2d } from './golden/conv2d.js';
import { extentsOf } from './golden/extents.js';
import { hasFma } from './library.js';

const threadsBefore = getThreads();
afterAll(() => setThreads(threadsBefore));

function exact({ input, filter, bias, add, options }: Problem): Float32Array {
  const layer = new Conv2d(filter, { ...options, bias, algorithm: 'exact' });
  return layer.runSync(input, { add }).data;
}

/** Bits, so that -0 is not 0; NaN is NaN. */
function expectSame(actual: Float32Array, expected: Float32Array): void {
  expect(firstDifference(actual, expected)).toBeUndefined();
}

function property(name: string, check: (problem: Problem, drawn: Drawn) => unknown): void {
  test(name, async () => {
    const run = async (one: Drawn) => void (await check(problemOf(one), one));
    await fc.assert(fc.asyncProperty(drawn, run), parameters);
  });
}

/** The element at [a, b, c, d] of `to` is that of `from` at `index(a, b, c, d)`. */
function rearranged(from: Tensor, to: Four, index: (...at: Four) => Four): Tensor {
  const [, B, C, D] = from.shape as Four;
  const data = new Float32Array(sizeOf(to));
  let i = 0;
  for (let a = 0; a < to[0]; a++) {
    for (let b = 0; b < to[1]; b++) {
      for (let c = 0; c < to[2]; c++) {
        for (let d = 0; d < to[3]; d++) {
          const [e, f, g, h] = index(a, b, c, d);
          data[i++] = from.data[((e * B + f) * C + g) * D + h] ?? 0;
        }
      }
    }
  }
  return { data, shape: to };
}

const toChannelsLast = (tensor: Tensor) => {
  const [N, C, H, W] = tensor.shape as Four;
  return rearranged(tensor, [N, H, W, C], (n, h, w, c) => [n, c, h, w]);
};
const toChannelsFirst = (tensor: Tensor) => {
  const [N, H, W, C] = tensor.shape as Four;
  return rearranged(tensor, [N, C, H, W], (n, c, h, w) => [n, h, w, c]);
};

/** The same problem in nchw and oihw, where it is easier to take apart. */
function plain(problem: Problem): Problem {
  const { options, outputShape, add } = problem;
  const isLast = options.layout === 'nhwc';
  const image = (tensor: Tensor) => (isLast ? toChannelsFirst(tensor) : tensor);
  const [KH, KW, CG, OC] = problem.filter.shape as Four;
  const output = image({ data: add ?? new Float32Array(sizeOf(outputShape)), shape: outputShape });
  return {
    ...problem,
    input: image(problem.input),
    filter:
      options.filterLayout === 'hwio'
        ? rearranged(problem.filter, [OC, CG, KH, KW], (oc, c, kh, kw) => [kh, kw, c, oc])
        : problem.filter,
    add: add === undefined ? undefined : output.data,
    outputShape: output.shape,
    options: { ...options, layout: 'nchw', filterLayout: 'oihw' },
  };
}

describe('against the definition', () => {
  property(
    'exact is the golden reference, bit by bit, where multiply-adds are fused',
    (problem) => {
      if (!hasFma(info().isa)) return;
      const { input, filter, bias, add, options } = problem;
      const golden = { ...options, input, filter, bias, add };
      if (sizeOf(problem.outputShape) > 0)
        expectSame(exact(problem), goldenConv2d(golden, 'fma32').data);
    },
  );

  property('auto is within the bound that the documentation states', (problem) => {
    const { input, filter, bias, add, options } = problem;
    const { data } = new Conv2d(filter, { ...options, bias }).runSync(input, { add });
    const expected = exact(problem);
    // 50 · 2^-24 · Σ|w| · max|x|, the sum over all channels, as x is below 1; hardSwish makes 1.5 of it.
    const bound = 75 * 2 ** -24 * filter.data.reduce((sum, w) => sum + Math.abs(w), 0);
    expect(data.findIndex((v, i) => !(Math.abs(v - (expected[i] as number)) <= bound))).toBe(-1);
  });

  property('shape and multiplications', ({ input, filter, options, outputShape }) => {
    const layer = new Conv2d(filter, options);
    const OC = filter.shape[options.filterLayout === 'oihw' ? 0 : 3] as number;
    expect(layer.outputShape(input.shape)).toEqual(outputShape);
    expect(layer.macs(input.shape)).toBe((sizeOf(filter.shape) / OC) * sizeOf(outputShape));
    expect(layer.plan(input.shape).flops).toBe(2 * layer.macs(input.shape));
  });
});

const copyOf = (data: Float32Array) => data.slice();
const sharedCopyOf = (data: Float32Array) => {
  const shared = new Float32Array(new SharedArrayBuffer(data.byteLength));
  shared.set(data);
  return shared;
};
const INTO = [copyOf, sharedCopyOf] as const;

/** All of it given away. */
async function givenAway(
  into: (typeof INTO)[number],
  layer: Conv2d,
  { data, shape }: Tensor,
  add: Float32Array | undefined,
  out: Float32Array,
): Promise<Float32Array> {
  const options = { add: add && into(add), out: into(out), transfer: true };
  return (await layer.run({ data: into(data), shape }, options)).data;
}

property('every way to call gives the same bits', async (problem) => {
  const { input, filter, bias, add, options } = problem;
  const expected = exact(problem);
  const all = { ...options, bias, algorithm: 'exact' as const };
  const layer = new Conv2d(filter, all);
  const memory = () => new Float32Array(expected.length).fill(Number.NaN);
  const [ownSync, own] = [memory(), memory()];
  const given = { data: memory(), shape: problem.outputShape };
  expect(layer.runSync(input, { add, out: ownSync }).data).toBe(ownSync);
  expect((await layer.run(input, { add, out: own })).data).toBe(own);
  const outputs = [
    ownSync,
    own,
    (await layer.run(input, { add })).data,
    conv2dSync(input, filter, { ...all, add, out: given }).data,
    (await conv2d(input, filter, { ...all, add })).data,
    ...(await Promise.all(Array.from({ length: 4 }, () => layer.run(input, { add })))).map(
      ({ data }) => data,
    ),
    ...(await Promise.all(INTO.map((give) => givenAway(give, layer, input, add, memory())))),
  ];
  for (const output of outputs) expectSame(output, expected);
});

describe('a problem taken apart gives the same bits', () => {
  property('image by image', (problem) => {
    const { input, add, outputShape } = problem;
    const expected = exact(problem);
    const [N] = input.shape as Four;
    const part = (data: Float32Array, n: number) =>
      data.subarray((n * data.length) / N, ((n + 1) * data.length) / N);
    for (let n = 0; n < N; n++) {
      const image = { data: part(input.data, n), shape: [1, ...input.shape.slice(1)] };
      const shape = [1, ...outputShape.slice(1)];
      const one = { ...problem, input: image, outputShape: shape, add: add && part(add, n) };
      expectSame(exact(one), part(expected, n));
    }
  });

  property('group by group', (problem) => {
    const whole = plain(problem);
    const { input, filter, bias, add, options, outputShape } = whole;
    const output = { data: exact(whole), shape: outputShape };
    const [N, C, H, W] = input.shape as Four;
    const [OC, CG, KH, KW] = filter.shape as Four;
    const [, , OH, OW] = outputShape as Four;
    const OCG = OC / options.groups;
    for (let g = 0; g < C / Math.max(CG, 1); g++) {
      const outputs = (tensor: Tensor) =>
        rearranged(tensor, [N, OCG, OH, OW], (n, c, h, w) => [n, g * OCG + c, h, w]).data;
      const group: Problem = {
        input: rearranged(input, [N, CG, H, W], (n, c, h, w) => [n, g * CG + c, h, w]),
        filter: rearranged(filter, [OCG, CG, KH, KW], (oc, c, h, w) => [g * OCG + oc, c, h, w]),
        bias: bias?.slice(g * OCG, (g + 1) * OCG),
        add: add && outputs({ data: add, shape: outputShape }),
        options: { ...options, groups: 1 },
        outputShape: [N, OCG, OH, OW],
      };
      expectSame(exact(group), outputs(output));
    }
  });

  property('with strides: every so manieth output of stride 1', (problem) => {
    const whole = { ...plain(problem), add: undefined };
    const { options, outputShape } = whole;
    const [strideH, strideW] = options.stride;
    const dense = { ...options, stride: [1, 1] as const };
    const { outputShape: shape } = extentsOf({ ...whole, ...dense });
    const output = { data: exact({ ...whole, options: dense }), shape };
    const picked = rearranged(output, outputShape as Four, (n, c, h, w) => {
      return [n, c, h * strideH, w * strideW];
    });
    expectSame(exact(whole), picked.data);
  });
});

describe('the same problem, written in another way, gives the same bits', () => {
  property('the other layouts', (problem) => {
    const other = plain(problem);
    const output = { data: exact(problem), shape: problem.outputShape };
    const isLast = problem.options.layout === 'nhwc';
    expectSame(exact(other), (isLast ? toChannelsFirst(output) : output).data);
    const { input, outputShape, add } = other;
    const last = (data: Float32Array) => toChannelsLast({ data, shape: outputShape });
    const nhwc: Problem = {
      ...other,
      options: { ...other.options, layout: 'nhwc' },
      input: toChannelsLast(input),
      add: add && last(add).data,
      outputShape: last(new Float32Array(sizeOf(outputShape))).shape,
    };
    expectSame(exact(nhwc), last(exact(other)).data);
  });

  property('zeros around the image in place of padding', (problem) => {
    const whole = plain(problem);
    const { top, left, bottom, right } = whole.options.padding;
    const [N, C, H, W] = whole.input.shape as Four;
    const shape: Four = [N, C, H + top + bottom, W + left + right];
    const input = rearranged(whole.input, shape, (n, c, h, w) => {
      const isInside = h >= top && h < top + H && w >= left && w < left + W;
      return isInside ? [n, c, h - top, w - left] : [-1, 0, 0, 0];
    });
    const padding = { top: 0, left: 0, bottom: 0, right: 0 };
    expectSame(exact({ ...whole, input, options: { ...whole.options, padding } }), exact(whole));
  });

  property('zeros between the weights in place of dilation', (problem) => {
    const whole = plain(problem);
    const [OC, CG, KH, KW] = whole.filter.shape as Four;
    const [stepH, stepW] = whole.options.dilation;
    const shape: Four = [OC, CG, stepH * (KH - 1) + 1, stepW * (KW - 1) + 1];
    const filter = rearranged(whole.filter, shape, (oc, c, h, w) => {
      const isTap = h % stepH === 0 && w % stepW === 0;
      return isTap ? [oc, c, h / stepH, w / stepW] : [-1, 0, 0, 0];
    });
    const dilation = [1, 1] as const;
    expectSame(exact({ ...whole, filter, options: { ...whole.options, dilation } }), exact(whole));
  });
});

test('twice the image, or the filter, is twice the output: any power of two', () => {
  const exponents = fc.tuple(upTo(20, -20), upTo(20, -20));
  const run = (one: Drawn, [a, b]: readonly [number, number]) => {
    const { input, filter, options, outputShape } = problemOf(one);
    const bare = {
      ...{ bias: undefined, add: undefined, outputShape },
      options: { ...options, activation: 'none' } as const,
    };
    const scaled = (tensor: Tensor, exponent: number) => {
      return { ...tensor, data: tensor.data.map((v) => v * 2 ** exponent) };
    };
    const expected = exact({ input, filter, ...bare }).map((v) => v * 2 ** (a + b));
    expectSame(exact({ input: scaled(input, a), filter: scaled(filter, b), ...bare }), expected);
  };
  fc.assert(fc.property(drawn, exponents, run), parameters);
});

describe('whatever is given', () => {
  const anything = fc.anything({
    ...{ withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withSet: true },
    ...{ withNullPrototype: true, withObjectString: true, withTypedArray: true },
    withSparseArray: true,
  });
  /** Nearly right: what validation must look at more closely. */
  const likely = fc.oneof(
    anything,
    fc.record({
      data: fc.oneof(anything, fc.float32Array()),
      shape: fc.oneof(anything, fc.array(upTo(4, 0))),
    }),
    fc.record(
      {
        ...{ stride: anything, padding: fc.oneof(anything, upTo(3)), dilation: upTo(2) },
        ...{ groups: fc.oneof(upTo(3), anything), activation: anything, bias: anything },
        ...{ add: anything, out: anything, signal: anything },
      },
      { requiredKeys: [] },
    ),
  );
  const CODES = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'];

  test('there is an answer or an error with a code', async () => {
    const filter = { data: new Float32Array(8), shape: [2, 1, 2, 2] };
    const layer = new Conv2d(filter);
    const calls: ((a: never, b: never, c: never) => unknown)[] = [
      (a, b) => new Conv2d(a, b),
      (a) => new Conv2d(filter, a),
      (a, b, c) => conv2dSync(a, b, c),
      (a, b, c) => conv2d(a, b, c),
      (a, b) => layer.runSync(a, b),
      (a, b) => layer.run(a, b),
      (a) => layer.run({ data: new Float32Array(4), shape: [1, 1, 2, 2] }, a),
      (a) => [layer.outputShape(a), layer.macs(a), layer.plan(a)],
    ];
    const run = async (index: number, a: unknown, b: unknown, c: unknown) => {
      try {
        await calls[index]?.(a as never, b as never, c as never);
      } catch (error) {
        const { code, message } = error as Error & { readonly code: string };
        expect(CODES, message).toContain(code);
        expect(message).toMatch(/^Expected .+ for .+, received /);
      }
    };
    const which = upTo(calls.length - 1, 0);
    const numRuns = 10 * parameters.numRuns;
    const any = fc.asyncProperty(which, likely, likely, likely, run);
    await fc.assert(any, { ...parameters, numRuns });
  });
});
