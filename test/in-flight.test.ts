// Memory given away to `run` is nobody's but the library's until the promise settles.
import { describe, expect, test } from 'vitest';
import { Conv2d, stats } from '../lib/index.js';
import type { Tensor } from '../lib/types.js';
import { inChild } from './child.js';
import { add, expectSame, input, isAttached, layer, UNTOUCHED } from './given.js';
import { ones } from './wrong.js';

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Large enough to be under way for a while. */
const busy = new Conv2d(ones(64, 64, 3, 3), { padding: 1, algorithm: 'exact' });
const image = ones(1, 64, 112, 112);
const shared = (count: number) => new Float32Array(new SharedArrayBuffer(4 * count));

test('shared memory is read when the call is computed, not when it is made', async () => {
  const before = Array.from({ length: 8 }, () => busy.run(image));
  const data = shared(image.data.length).fill(1);
  const late = busy.run({ data, shape: image.shape }, { transfer: true });
  data.fill(2);
  const [one] = await Promise.all(before);
  expectSame(
    (await late).data,
    (one as Tensor).data.map((value) => 2 * value),
  );
});

describe('aborted', () => {
  test('a call leaves shared memory alone from its rejection on', async () => {
    const shape = [2, ...image.shape.slice(1)];
    const count = 2 * image.data.length;
    const data = shared(count).fill(1);
    const untouched = new Float32Array(count).fill(UNTOUCHED);
    let rejected = 0;
    for (let i = 0; i < 30; i++) {
      const controller = new AbortController();
      const { signal } = controller;
      const outs = [shared(count), shared(count)];
      const settled = Promise.allSettled(
        outs.map(async (out) => {
          try {
            await busy.run({ data, shape }, { out, transfer: true, signal });
          } catch (error) {
            expect(error).toBe(signal.reason);
            rejected++;
            out.fill(UNTOUCHED);
          }
        }),
      );
      // Or over, before this thread had its turn.
      await until(() => stats().running > 0 || stats().pending === 0);
      controller.abort();
      expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
      await until(() => stats().pending === 0);
      for (const out of outs) {
        if (out[0] !== UNTOUCHED) continue; // it was done before the signal came
        expectSame(out, untouched);
      }
    }
    expect(rejected).toBeGreaterThan(0);
  });

  test('what it took is gone, and the call after it is right', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const [x, o] = [ones(1, 64, 112, 112), new Float32Array(image.data.length)];
    const call = busy.run(x, { out: o, transfer: true, signal });
    controller.abort();
    await expect(call).rejects.toBe(signal.reason);
    expect([x.data, o].map(isAttached)).toEqual([false, false]);
    expectSame((await layer.run(input(), { add: add(), transfer: true })).data);
  });

  test('a call that waits is rejected in the same turn', async () => {
    const before = Array.from({ length: 6 }, () => busy.run(image));
    const controller = new AbortController();
    const options = { transfer: true, signal: controller.signal };
    const call = busy.run(ones(1, 64, 112, 112), options);
    let isRejected = false;
    call.catch(() => {
      isRejected = true;
    });
    controller.abort();
    await null;
    await null;
    expect(isRejected).toBe(true);
    await Promise.all(before);
  });
});

test('a process may end, or a worker, with calls in flight on memory given away', () => {
  const setUp = `
    import { Conv2d } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    const layer = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
    const start = () => Array.from({ length: 8 }, (_, i) => {
      const bytes = 4 * 64 * 112 * 112;
      const out = new Float32Array(i % 2 ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes));
      return layer.run(ones(1, 64, 112, 112), { out, transfer: true });
    });
  `;
  const worker = `${setUp} import { parentPort } from 'node:worker_threads';
    start();
    parentPort.postMessage('started');
    setInterval(() => {}, 1000);`;
  const { status, stdout, stderr } = inChild(`${setUp}
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const mine = start();
    for (let i = 0; i < 4; i++) {
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
      await once(worker, 'message');
      await worker.terminate();
    }
    console.log((await Promise.all(mine)).length);
    start();
    process.exit(7);
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('8\n');
  expect(status).toBe(7);
});
