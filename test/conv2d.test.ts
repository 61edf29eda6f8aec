import { afterEach, describe, expect, test, vi } from 'vitest';
import { binding } from '../lib/binding.js';
import { Conv2d, conv2d, conv2dSync, getThreads, setThreads } from '../lib/index.js';
import type { Conv2dOptions, Tensor } from '../lib/types.js';
import { goldenConv2d } from './golden/conv2d.js';
import { type CodedError, caught, ones } from './wrong.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Small integers, so that every order of summation gives the same result. */
function counting(...shape: number[]): Tensor {
  const { data } = ones(...shape);
  return { data: data.map((_, i) => ((i * 7) % 11) - 5), shape };
}

const input = counting(2, 4, 6, 5);
const filter = counting(6, 2, 3, 3);
const bias = counting(6).data;
const options = { groups: 2, padding: 1, stride: [2, 1], bias, activation: 'relu' } as const;
const add = counting(2, 6, 3, 5);
const expected = goldenConv2d(
  {
    ...{ input, filter, bias, groups: 2, stride: [2, 1], activation: 'relu', add: add.data },
    padding: { top: 1, left: 1, bottom: 1, right: 1 },
  },
  'fma32',
);

describe('every way to call gives the same', () => {
  test('a layer, synchronously', () => {
    expect(new Conv2d(filter, options).runSync(input, { add })).toEqual(expected);
  });

  test('a layer, asynchronously', async () => {
    expect(await new Conv2d(filter, options).run(input, { add })).toEqual(expected);
  });

  test('one-off', async () => {
    expect(await conv2d(input, filter, { ...options, add })).toEqual(expected);
    expect(conv2dSync(input, filter, { ...options, add })).toEqual(expected);
  });

  test('with bare arrays for tensors', () => {
    const result = conv2dSync(input, filter, {
      ...{ ...options, add: add.data },
      bias: { data: bias, shape: [6] },
    });
    expect(result).toEqual(expected);
  });

  test('into `out`', async () => {
    const layer = new Conv2d(filter, options);
    const data = new Float32Array(180).fill(9);
    for (const out of [data, { data, shape: [2, 6, 3, 5] }]) {
      const sync = layer.runSync(input, { out, add });
      expect(sync.data).toBe(data);
      expect(sync).toEqual(expected);
      data.fill(9);
      const later = await layer.run(input, { out, add });
      expect(later.data).toBe(data);
      expect(later).toEqual(expected);
      data.fill(9);
    }
    expect((await conv2d(input, filter, { ...options, add, out: data })).data).toBe(data);
    expect(conv2dSync(input, filter, { ...options, add, out: data }).data).toBe(data);
  });

  test('into the middle of a buffer, which is left alone around it', async () => {
    const all = new Float32Array(200).fill(9);
    const layer = new Conv2d(filter, options);
    const out = all.subarray(10, 190);
    for (const result of [
      layer.runSync(input, { add, out }),
      await layer.run(input, { add, out }),
    ]) {
      expect(result.data).toBe(out);
      expect(result).toEqual(expected);
    }
    expect([...all.subarray(0, 10), ...all.subarray(190)]).toEqual(Array(20).fill(9));
  });
});

test('what happens to the filter, the bias and the options later has no effect', () => {
  const own = { data: filter.data.slice(), shape: [...filter.shape] };
  const ownBias = bias.slice();
  const ownOptions: Conv2dOptions = { ...options, bias: ownBias };
  const layer = new Conv2d(own, ownOptions);
  own.data.fill(0);
  own.shape.fill(1);
  ownBias.fill(100);
  Object.assign(ownOptions, { groups: 1, stride: 9 });
  expect(layer.runSync(input, { add })).toEqual(expected);
});

test('a result is the caller’s to change', () => {
  const layer = new Conv2d(filter, options);
  const first = layer.runSync(input, { add });
  (first.shape as number[]).fill(0);
  first.data.fill(0);
  expect(layer.runSync(input, { add })).toEqual(expected);
});

describe('empty extents', () => {
  test('no images', async () => {
    const layer = new Conv2d(filter, options);
    const none = ones(0, 4, 6, 5);
    const empty = { data: new Float32Array(0), shape: [0, 6, 3, 5] };
    expect(layer.runSync(none)).toEqual(empty);
    expect(await layer.run(none)).toEqual(empty);
    expect(await layer.run(none, { out: empty, add: empty })).toEqual(empty);
    expect(await conv2d(none, filter, options)).toEqual(empty);
    expect(layer.macs([0, 4, 6, 5])).toBe(0);
    expect(layer.plan([0, 4, 6, 5]).flops).toBe(0);
  });

  test('no channels: the bias alone', async () => {
    const layer = new Conv2d(ones(2, 0, 3, 3), { bias: new Float32Array([1, -2]), padding: 1 });
    const expected = { data: new Float32Array([1, 1, -2, -2]), shape: [1, 2, 1, 2] };
    expect(layer.runSync(ones(1, 0, 1, 2))).toEqual(expected);
    expect(await layer.run(ones(1, 0, 1, 2))).toEqual(expected);
    expect(layer.macs([1, 0, 1, 2])).toBe(0);
  });

  test('no channels, but a filter of any extent', () => {
    const filter = { data: new Float32Array(0), shape: [2, 0, 1, 2 ** 40] };
    for (const algorithm of ['gemm', 'direct'] as const) {
      const layer = new Conv2d(filter, { padding: 'same', algorithm });
      expect(layer.runSync(ones(1, 0, 1, 2)).data).toEqual(new Float32Array(4));
    }
  });

  test('no channels, in groups', () => {
    const layer = new Conv2d(ones(4, 0, 1, 1), { groups: 2 });
    expect(layer.runSync(ones(1, 0, 1, 1)).data).toEqual(new Float32Array(4));
  });
});

describe('outputShape, macs, plan', () => {
  test('of either layout', () => {
    const nchw = new Conv2d(filter, { groups: 2, stride: 2 });
    expect(nchw.outputShape([3, 4, 9, 8])).toEqual([3, 6, 4, 3]);
    expect(nchw.macs([3, 4, 9, 8])).toBe(3 * 3 * 2 * (3 * 6 * 4 * 3));
    const hwio = counting(3, 3, 2, 6);
    const nhwc = new Conv2d(hwio, {
      ...{ groups: 2, stride: 2 },
      ...{ layout: 'nhwc', filterLayout: 'hwio' },
    });
    expect(nhwc.outputShape([3, 9, 8, 4])).toEqual([3, 4, 3, 6]);
    expect(nhwc.macs([3, 9, 8, 4])).toBe(nchw.macs([3, 4, 9, 8]));
  });

  test('do no work', () => {
    const calls = ['makePlan', 'packFilter', 'runSync'] as const;
    const spies = calls.map((name) => vi.spyOn(binding, name));
    const layer = new Conv2d(filter, options);
    layer.outputShape([2, 4, 6, 5]);
    layer.macs([2, 4, 6, 5]);
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
    layer.plan([2, 4, 6, 5]);
    expect(spies.map((spy) => spy.mock.calls.length)).toEqual([1, 0, 0]);
  });

  test('a plan is what is documented, and nothing else', () => {
    const plan = new Conv2d(filter, options).plan([2, 4, 6, 5]);
    expect(Object.keys(plan).sort()).toEqual([
      ...['algorithm', 'blocks', 'estimatedCycles', 'flops', 'isa', 'threads', 'tile'],
      ...['variant', 'workspaceBytes'],
    ]);
    expect(plan.flops).toBe(2 * 3 * 3 * 2 * 180);
    expect(['gemm', 'direct']).toContain(plan.algorithm);
  });

  test('a plan follows setThreads', () => {
    const before = getThreads();
    const layer = new Conv2d(ones(64, 64, 3, 3));
    try {
      setThreads(1);
      expect(layer.plan([8, 64, 66, 66]).threads).toBe(1);
      setThreads(2);
      expect(layer.plan([8, 64, 66, 66]).threads).toBe(2);
    } finally {
      setThreads(before);
    }
  });
});

test('what is beyond all memory is planned in no time', () => {
  for (const algorithm of ['auto', 'gemm', 'direct', 'depthwise'] as const) {
    for (const layout of ['nchw', 'nhwc'] as const) {
      const layer = new Conv2d(ones(1, 1, 3, 3), { padding: [0, 2 ** 36], algorithm, layout });
      expect(layer.plan(layout === 'nchw' ? [1, 1, 3, 4] : [1, 3, 4, 1]).flops).toBeGreaterThan(
        1e12,
      );
    }
  }
});

const NAMES = ['auto', 'exact', 'gemm', 'direct'] as const;

test.each(NAMES)('%s: rows of outputs that lie in the padding below are the bias', (algorithm) => {
  for (const [C, OC, W, bottom] of [
    [1, 9, 4, 3],
    [3, 16, 12, 8],
    [16, 24, 64, 1],
  ] as const) {
    const padding = { top: 0, left: 0, right: 0, bottom };
    const layer = new Conv2d(ones(OC, C, 1, 1), { padding, algorithm });
    // What lies behind the image is not part of it.
    const data = new Float32Array(C * W * 4)
      .fill(Number.NaN)
      .subarray(0, C * W)
      .fill(1);
    const output = layer.runSync({ data, shape: [1, C, 1, W] });
    const plane = Array.from({ length: (1 + bottom) * W }, (_, i) => (i < W ? C : 0));
    expect([...output.data], layer.plan([1, C, 1, W]).variant).toEqual(
      Array.from({ length: OC }, () => plane).flat(),
    );
  }
});

test.each(NAMES)('%s: a step beyond the image, under a filter as wide as it', (algorithm) => {
  for (const stride of [2 ** 40, Number.MAX_SAFE_INTEGER]) {
    for (const W of [256, 257, 4096]) {
      const layer = new Conv2d(ones(1, 1, 1, W), { stride: [stride, 1], algorithm });
      expect([...layer.runSync(ones(1, 1, 2, W)).data]).toEqual([W]);
    }
  }
});

describe('plans and packed filters are kept', () => {
  test('one plan a shape, one packed filter in all', () => {
    const makePlan = vi.spyOn(binding, 'makePlan');
    const packFilter = vi.spyOn(binding, 'packFilter');
    const layer = new Conv2d(ones(1, 1, 1, 1));
    for (let i = 0; i < 3; i++) {
      for (const width of [1, 2, 1]) layer.runSync(ones(1, 1, 1, width));
    }
    expect(makePlan).toHaveBeenCalledTimes(2);
    const formats = new Set(packFilter.mock.calls.map(([plan]) => formatOf(plan)));
    expect(packFilter).toHaveBeenCalledTimes(formats.size);
  });

  test('until the settings change', () => {
    const before = getThreads();
    const makePlan = vi.spyOn(binding, 'makePlan');
    const layer = new Conv2d(ones(1, 1, 1, 1));
    try {
      layer.runSync(ones(1, 1, 1, 1));
      layer.runSync(ones(1, 1, 1, 2));
      setThreads(1);
      layer.runSync(ones(1, 1, 1, 1));
      layer.runSync(ones(1, 1, 1, 2));
      layer.runSync(ones(1, 1, 1, 1));
      expect(makePlan).toHaveBeenCalledTimes(4);
    } finally {
      setThreads(before);
    }
  });

  test('of many shapes, the most recent', () => {
    const makePlan = vi.spyOn(binding, 'makePlan');
    const layer = new Conv2d(ones(1, 1, 1, 1));
    for (let width = 1; width <= 100; width++) layer.runSync(ones(1, 1, 1, width));
    expect(makePlan).toHaveBeenCalledTimes(100);
    for (let width = 37; width <= 100; width++) layer.runSync(ones(1, 1, 1, width));
    expect(makePlan).toHaveBeenCalledTimes(100);
    layer.runSync(ones(1, 1, 1, 1));
    expect(makePlan).toHaveBeenCalledTimes(101);
  });

  function formatOf(plan: ArrayBuffer): number {
    return binding.describePlan(plan).packedFormat;
  }
});

test('an algorithm that cannot skip padding, where it must, is refused', async () => {
  const weights = ones(1, 1, 3, 3);
  weights.data[0] = Infinity;
  const padded = new Conv2d(weights, { padding: 1, algorithm: 'gemm' });
  const error = caught(() => padded.runSync(ones(1, 1, 4, 4))) as CodedError;
  expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
  expect(error.message).toMatch(
    /for options\.algorithm, received 'gemm' \(the filter is not finite/,
  );
  await expect(padded.run(ones(1, 1, 4, 4))).rejects.toThrow('options.algorithm');
  expect(caught(() => padded.plan([1, 1, 4, 4]))).toBeInstanceOf(RangeError);
  const bare = new Conv2d(weights, { algorithm: 'gemm' });
  expect(bare.runSync(ones(1, 1, 3, 3)).data[0]).toBe(Infinity);
});

describe('dispose', () => {
  const code = 'ERR_INVALID_STATE';
  const x = ones(1, 1, 1, 1);

  test('later calls fail, twice is fine', async () => {
    const layer = new Conv2d(ones(1, 1, 1, 1));
    layer.runSync(x);
    layer.dispose();
    layer.dispose();
    for (const method of ['outputShape', 'macs', 'plan'] as const) {
      expect(caught(() => layer[method]([1, 1, 1, 1]))).toMatchObject({ code });
    }
    expect(caught(() => layer.runSync(x))).toMatchObject({ code });
    await expect(layer.run(x)).rejects.toMatchObject({ code });
  });

  test('calls under way finish', async () => {
    const layer = new Conv2d(filter, options);
    const pending = layer.run(input, { add });
    layer.dispose();
    expect(await pending).toEqual(expected);
  });

  test('by its symbol', () => {
    const layer = new Conv2d(ones(1, 1, 1, 1));
    layer[Symbol.dispose]();
    expect(caught(() => layer.runSync(x))).toMatchObject({ code });
  });
});

test('an output too large to allocate is the engine’s RangeError, and changes nothing', async () => {
  const layer = new Conv2d(ones(2 ** 20, 0, 1, 1));
  const huge = { data: new Float32Array(0), shape: [1, 0, 2 ** 15, 2 ** 15] };
  expect(caught(() => layer.runSync(huge))).toBeInstanceOf(RangeError);
  await expect(layer.run(huge)).rejects.toBeInstanceOf(RangeError);
  expect(layer.runSync(ones(1, 0, 1, 1)).shape).toEqual([1, 2 ** 20, 1, 1]);
});
