// Memory given away to `run`: taken from the caller before it returns, or not at all, and worked on
// in place.
import { afterEach, describe, expect, test } from 'vitest';
import { Conv2d, conv2d, setLimits, setThreads, stats } from '../lib/index.js';
import type { RunOptions, Tensor } from '../lib/types.js';
import { inChild } from './child.js';
import {
  add,
  addValues,
  C,
  COUNT,
  expectSame,
  GUARD,
  input,
  inputValues,
  isAttached,
  KINDS,
  layer,
  out,
  SHAPE,
  UNTOUCHED,
} from './given.js';
import { caught, expectError, expectRejection, ones, wrong } from './wrong.js';

const { maxPending, maxPendingBytes, threads } = stats();
afterEach(() => {
  setLimits({ maxPending, maxPendingBytes });
  setThreads(threads);
});

describe.each(KINDS)('%s', (kind) => {
  test('is taken before run returns, and worked on in place', async () => {
    const [x, a, o] = [input(kind), add(kind), out(kind)];
    const pending = layer.run(x, { add: a, out: o, transfer: true });
    const isShared = kind === 'shared';
    expect([x.data, a, o].map(isAttached)).toEqual([isShared, isShared, isShared]);
    const { data, shape } = await pending;
    expect(shape).toEqual(SHAPE);
    expectSame(data);
    expect(data === o).toBe(isShared);
    expect(Object.getPrototypeOf(data)).toBe(Float32Array.prototype);
    if (!['part', 'resizable', 'shared'].includes(kind)) return;
    // What lies around the array has moved with it.
    const all = new Float32Array(data.buffer);
    expect(data.byteOffset).toBe(4 * GUARD);
    expect(all).toHaveLength(COUNT + 2 * GUARD);
    const around = [...all.subarray(0, GUARD), ...all.subarray(-GUARD)];
    expect(around).toEqual(Array(2 * GUARD).fill(UNTOUCHED));
  });

  test('is the caller’s again where it holds the output, and may be used once more', async () => {
    let data = out(kind);
    for (let i = 0; i < 5; i++) {
      const options: RunOptions = { add: addValues, out: data, transfer: ['out'] };
      ({ data } = await layer.run(input(), options));
      expectSame(data);
      data.fill(0);
    }
  });
});

describe('what is given', () => {
  test.each([
    [undefined, []],
    [false, []],
    [[], []],
    [['input'], ['input']],
    [['add'], ['add']],
    [['out'], ['out']],
    [
      ['out', 'input', 'out'],
      ['input', 'out'],
    ],
    [true, ['input', 'add', 'out']],
  ] as const)('%j takes %j', async (transfer, taken) => {
    const given = { input: input().data, add: add(), out: out() };
    const { input: data, ...rest } = given;
    const output = await layer.run({ data, shape: SHAPE }, { ...rest, transfer });
    const left = Object.entries(given).filter(([, array]) => !isAttached(array));
    expect(left.map(([name]) => name)).toEqual(taken);
    expectSame(output.data);
    if (isAttached(given.out)) expect(output.data).toBe(given.out);
  });

  test('names of what is not there do no harm', async () => {
    const data = input().data;
    const output = await layer.run({ data, shape: SHAPE }, { transfer: ['add', 'out'] });
    expect(isAttached(data)).toBe(true);
    expectSame(output.data, layer.runSync(input()).data);
  });

  test('one array as input and as add', async () => {
    const { data } = input();
    const wanted = layer.runSync({ data, shape: SHAPE }, { add: data }).data;
    expectSame(
      (await layer.run({ data, shape: SHAPE }, { add: data, transfer: true })).data,
      wanted,
    );
    expect(isAttached(data)).toBe(false);
  });

  test('all three in one buffer, apart', async () => {
    for (const MemoryKind of [ArrayBuffer, SharedArrayBuffer]) {
      const buffer = new MemoryKind(12 * COUNT);
      const at = (i: number) => new Float32Array(buffer, 4 * i * COUNT, COUNT);
      const x = at(0);
      x.set(inputValues);
      at(1).set(addValues);
      const options = { add: at(1), out: at(2), transfer: true };
      const { data } = await layer.run({ data: x, shape: SHAPE }, options);
      expectSame(data);
      expect(data.byteOffset).toBe(8 * COUNT);
      expectSame(new Float32Array(data.buffer, 0, COUNT), inputValues);
    }
  });

  test('out may be the input, where the input is copied', async () => {
    const { data } = input();
    const options = { add: addValues, out: data, transfer: ['out'] } as const;
    expectSame((await layer.run({ data, shape: SHAPE }, options)).data);
    expect(isAttached(data)).toBe(false);
  });

  test('arrays without values are left alone', async () => {
    const nothing = new Float32Array(0);
    const bias = new Conv2d({ data: nothing, shape: [3, 0, 1, 1] }, { bias: ones(3) });
    const part = new Float32Array(new ArrayBuffer(16), 8, 0);
    const { data } = await bias.run({ data: part, shape: [1, 0, 1, 2] }, { transfer: true });
    expect([...data]).toEqual(Array(6).fill(1));
    expect(part.buffer.byteLength).toBe(16);
    const none = { data: nothing, shape: [0, C, 12, 12] };
    const output = await layer.run(none, { out: part, transfer: true });
    expect(output.data).toBe(part);
  });

  test('conv2d passes it on; a filter is copied, never taken', async () => {
    const [x, filter] = [input(), ones(C, C, 3, 3)];
    const { data } = await conv2d(x, filter, { padding: 1, add: add(), transfer: true });
    expectSame(data);
    expect([isAttached(x.data), isAttached(filter.data)]).toEqual([false, true]);
  });

  test('runSync works in place anyway, and knows no such option', () => {
    const error = caught(() => layer.runSync(input(), wrong({ transfer: true })));
    expectError(error, 'TYPE', 'the property names of options');
  });
});

describe('a call that is refused takes nothing', () => {
  const { Memory } = (
    globalThis as unknown as {
      WebAssembly: { Memory: new (pages: { initial: number }) => { buffer: ArrayBuffer } };
    }
  ).WebAssembly;
  const wasm = () => new Float32Array(new Memory({ initial: 1 }).buffer, 0, COUNT);
  const pooled = () => {
    for (;;) {
      const bytes = Buffer.allocUnsafe(64 + 4);
      const start = Math.ceil(bytes.byteOffset / 4) * 4;
      if (bytes.buffer.byteLength > 68) return new Float32Array(bytes.buffer, start, 16);
    }
  };

  /** Tensors of 16 values, for a pool takes no large ones. */
  const pointwise = new Conv2d(ones(1, 1, 1, 1));
  const little = () => ({ data: new Float32Array(16).fill(2), shape: [1, 1, 4, 4] });

  test.each(['input', 'add', 'out'] as const)('memory that cannot be: %s', async (role) => {
    const before = stats();
    const arrays = { input: input().data, add: add(), out: out(), [role]: wasm() };
    const { input: data, ...rest } = arrays;
    const pending = layer.run({ data, shape: SHAPE }, { ...rest, transfer: true });
    await expectRejection(pending, 'VALUE', role === 'input' ? 'input.data' : `options.${role}`);
    expect(Object.values(arrays).every(isAttached)).toBe(true);

    const pool = pooled();
    const bytes = pool.buffer.byteLength;
    const small = { input: little().data, add: little().data, out: little().data, [role]: pool };
    const refused = pointwise.run(
      { data: small.input, shape: little().shape },
      { add: small.add, out: small.out, transfer: true },
    );
    await expectRejection(refused, 'VALUE', role === 'input' ? 'input.data' : `options.${role}`);
    expect(Object.values(small).every(isAttached)).toBe(true);
    expect(pool.buffer.byteLength).toBe(bytes);
    expect(Buffer.allocUnsafe(8)).toHaveLength(8);
    expect(stats()).toEqual(before);
  });

  test.each(['input', 'add'] as const)('out overlaps %s', async (role) => {
    for (const MemoryKind of [ArrayBuffer, SharedArrayBuffer]) {
      const buffer = new MemoryKind(8 * COUNT);
      const arrays = {
        ...{ input: input().data, add: add() },
        out: new Float32Array(buffer, 4 * (COUNT - 1), COUNT),
        [role]: new Float32Array(buffer, 0, COUNT),
      };
      const { input: data, ...rest } = arrays;
      const pending = layer.run({ data, shape: SHAPE }, { ...rest, transfer: true });
      await expectRejection(pending, 'VALUE', 'options.out');
      expect(Object.values(arrays).every(isAttached)).toBe(true);
    }
  });

  test('for any other reason', async () => {
    const aborted = AbortSignal.abort();
    const disposed = new Conv2d(ones(C, C, 3, 3), { padding: 1 });
    disposed.dispose();
    const calls: readonly ((x: Tensor, options: RunOptions) => Promise<Tensor>)[] = [
      (x, options) => layer.run({ ...x, shape: [1, C, 12, 13] }, options),
      (x, options) => layer.run(x, { ...options, add: new Float32Array(1) }),
      (x, options) => layer.run(x, { ...options, out: new Float32Array(1) }),
      (x, options) => layer.run(x, { ...options, signal: aborted }),
      (x, options) => layer.run(x, { ...options, transfer: wrong([true]) }),
      (x, options) => disposed.run(x, options),
    ];
    for (const call of calls) {
      const [x, a, o] = [input(), add(), out()];
      await expect(call(x, { add: a, out: o, transfer: true })).rejects.toThrow();
      expect([x.data, a, o].map(isAttached)).toEqual([true, true, true]);
      expect(o.every((value) => value === UNTOUCHED)).toBe(true);
    }
  });

  test('the queue is full', async () => {
    setLimits({ maxPending: 1 });
    const first = layer.run(input());
    const [x, o] = [input(), out()];
    const full = { code: 'ERR_GEMMCONV_QUEUE_FULL' };
    await expect(layer.run(x, { out: o, transfer: true })).rejects.toMatchObject(full);
    expect([x.data, o].map(isAttached)).toEqual([true, true]);
    await first;
    setLimits({ maxPending });
    expectSame((await layer.run(x, { add: add(), out: o, transfer: true })).data);
  });
});

test('settings that change make no difference', async () => {
  for (const count of [1, 3, 2]) {
    setThreads(count);
    const options = { add: add(), out: out(), transfer: true };
    expectSame((await layer.run(input(), options)).data);
  }
});

test('loading leaves the length of stack traces as it was, though it tries what cannot be transferred', () => {
  const { stdout } = inChild(`
    const before = Error.stackTraceLimit;
    await import('gemmconv');
    console.log(Error.stackTraceLimit === before);
  `);
  expect(stdout).toBe('true\n');
});
