import { beforeEach, describe, expect, test } from 'vitest';
import { binding } from '../lib/binding.js';
import { Conv2d, stats } from '../lib/index.js';

describe('outputs that are made when their turn comes', () => {
  const length = 2 ** 17;
  // A fresh one for each test: when it has run often, many calls begin at once.
  let layer: Conv2d;
  beforeEach(() => {
    layer = new Conv2d({ data: Float32Array.of(2), shape: [1, 1, 1, 1] });
  });
  const start = (value: number, signal?: AbortSignal) =>
    layer.run({ data: new Float32Array(length).fill(value), shape: [1, 1, 1, length] }, { signal });

  test('are those of their calls, whoever is aborted meanwhile', async () => {
    await start(1);
    const { aborted, completed } = stats();
    const controllers = Array.from({ length: 100 }, () => new AbortController());
    const pending = controllers.map(({ signal }, i) => start(i, signal));
    const isAborted = (i: number) => i % 3 === 1 || i > 90;
    for (const [i, one] of controllers.entries()) if (isAborted(i)) one.abort();
    const settled = await Promise.allSettled(pending);
    for (const [i, one] of settled.entries()) {
      expect(one.status).toBe(isAborted(i) ? 'rejected' : 'fulfilled');
      if (one.status === 'fulfilled') expect(one.value.data.every((v) => v === 2 * i)).toBe(true);
    }
    const rejected = settled.filter(({ status }) => status === 'rejected').length;
    expect(stats()).toMatchObject({ pending: 0, pendingBytes: 0 });
    expect(stats().aborted - aborted).toBe(rejected);
    expect(stats().completed - completed).toBe(100 - rejected);
    expect((await start(5)).data.every((v) => v === 10)).toBe(true);
  });

  test('that cannot be had fail their calls alone', async () => {
    await start(1);
    const { aborted } = stats();
    const pending = Array.from({ length: 60 }, (_, i) => start(i));
    const { allocUnsafeSlow } = Buffer;
    Buffer.allocUnsafeSlow = () => {
      throw new RangeError('Array buffer allocation failed');
    };
    const settled = await Promise.allSettled(pending).finally(() => {
      Buffer.allocUnsafeSlow = allocUnsafeSlow;
    });
    const failed = settled.filter(({ status }) => status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const one of failed) {
      expect(one).toMatchObject({ reason: { code: 'ERR_MEMORY_ALLOCATION_FAILED' } });
    }
    expect(settled.length - failed.length).toBeGreaterThan(0);
    expect(stats()).toMatchObject({ pending: 0, pendingBytes: 0, aborted });
    expect((await start(5)).data.every((v) => v === 10)).toBe(true);
  });

  test('are not made when one signal aborts all calls', async () => {
    const slow = new Conv2d(
      { data: new Float32Array(64 * 64 * 9), shape: [64, 64, 3, 3] },
      { padding: 1, algorithm: 'exact' },
    );
    const input = { data: new Float32Array(64 * 112 * 112), shape: [1, 64, 112, 112] };
    await slow.run(input);
    const controller = new AbortController();
    const pending = Array.from({ length: 9 }, () => slow.run(input, { signal: controller.signal }));
    const { begin } = binding;
    let begun = 0;
    binding.begin = (...given) => {
      begun++;
      return begin(...given);
    };
    controller.abort();
    binding.begin = begin;
    expect(begun).toBe(0);
    for (const one of await Promise.allSettled(pending)) expect(one.status).toBe('rejected');
    expect((await start(5)).data[0]).toBe(10);
  });

  test('of many more than ever begin at once do not hold up a worker that ends', async () => {
    await start(1);
    const pending = Array.from({ length: 200 }, (_, i) => start(i));
    const end = performance.now() + 30; // the workers run out of calls
    while (performance.now() < end);
    for (const [i, { data }] of (await Promise.all(pending)).entries()) expect(data[9]).toBe(2 * i);
  });
});
