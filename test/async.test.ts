import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { binding } from '../lib/binding.js';
import { Conv2d, setLimits, stats } from '../lib/index.js';
import type { Tensor } from '../lib/types.js';
import { inChild, isNode } from './child.js';
import { detach, expectRejection, ones, wrong } from './wrong.js';

/** Large enough to be under way for a while. */
const busy = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
const image = ones(1, 64, 112, 112);
const expected = busy.runSync(image).data;

function copy({ data, shape }: Tensor): Tensor {
  return { data: data.slice(), shape };
}

/** `toEqual` takes seconds on a million numbers. */
function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
}

test('runSync does not take a filter that run has only begun to pack', async () => {
  const filter = ones(256, 256, 3, 3);
  const small = ones(1, 256, 3, 3);
  const { data } = new Conv2d(filter).runSync(small);
  for (let repeat = 0; repeat < 5; repeat++) {
    const layer = new Conv2d(filter);
    const pending = layer.run(small); // packing takes half a millisecond
    expect(layer.runSync(small).data).toEqual(data);
    expect((await pending).data).toEqual(data);
  }
});

describe('the caller’s memory is the caller’s', () => {
  test('the input may change as soon as run returns', async () => {
    const input = copy(image);
    const pending = busy.run(input);
    input.data.fill(Number.NaN);
    expect(sameBits((await pending).data, expected)).toBe(true);
  });

  test('the input may be transferred as soon as run returns', async () => {
    const input = copy(image);
    const add = new Float32Array(expected.length);
    const pending = busy.run(input, { add });
    detach(input.data);
    detach(add);
    const noise = Array.from({ length: 8 }, () => new Float32Array(1e5).fill(Number.NaN));
    expect(sameBits((await pending).data, expected)).toBe(true);
    expect(noise).toHaveLength(8);
  });

  test('the shape array too', async () => {
    const input = { data: image.data, shape: [...image.shape] };
    const pending = busy.run(input);
    input.shape.fill(7);
    expect((await pending).shape).toEqual(image.shape);
  });

  test('`out` is written when the promise resolves, not before', async () => {
    const out = new Float32Array(expected.length).fill(7);
    const pending = busy.run(image, { out });
    expect(out.every((v) => v === 7)).toBe(true);
    await pending;
    expect(sameBits(out, expected)).toBe(true);
  });

  test('`out` detached meanwhile', async () => {
    const out = new Float32Array(expected.length);
    const pending = busy.run(image, { out });
    detach(out);
    await expectRejection(pending, 'VALUE', 'options.out');
  });

  test('`out` shrunk meanwhile', async () => {
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const bytes = 4 * expected.length;
    for (const length of [bytes, undefined]) {
      const buffer = new Resizable(bytes, { maxByteLength: bytes });
      const out = new Float32Array(buffer, 0, length === undefined ? undefined : length / 4);
      const pending = busy.run(image, { out });
      buffer.resize(bytes - 4);
      await expectRejection(pending, 'VALUE', 'options.out');
    }
  });
});

test('the event loop turns while it computes', async () => {
  let turns = 0;
  let done = false;
  const pending = busy.run({ data: ones(8, 64, 112, 112).data, shape: [8, 64, 112, 112] });
  const settled = pending.finally(() => {
    done = true;
  });
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve));
    turns++;
  }
  await settled;
  expect(turns).toBeGreaterThan(3);
});

test('timers that a test framework has replaced do not keep it waiting', () => {
  const { status, stdout, stderr } = inChild(`
    import { Conv2d } from 'gemmconv';
    const pixel = { data: new Float32Array([2]), shape: [1, 1, 1, 1] };
    const layer = new Conv2d(pixel);
    const tooLong = setTimeout(() => process.exit(1), 20_000);
    for (const name of ['setImmediate', 'setTimeout', 'queueMicrotask']) globalThis[name] = () => {};
    process.nextTick = () => {};
    for (let i = 0; i < 3; i++) console.log((await layer.run(pixel)).data[0]);
    clearTimeout(tooLong);
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('4\n4\n4\n');
  expect(status).toBe(0);
});

test('many at once, each with its own answer', async () => {
  const layer = new Conv2d({ data: new Float32Array([2]), shape: [1, 1, 1, 1] });
  const outputs = await Promise.all(
    Array.from({ length: 200 }, (_, i) => {
      const width = 1 + (i % 7) * 100;
      return layer.run({ data: new Float32Array(width).fill(i), shape: [1, 1, 1, width] });
    }),
  );
  for (const [i, { data }] of outputs.entries()) {
    expect(data).toHaveLength(1 + (i % 7) * 100);
    expect(data.every((v) => v === 2 * i)).toBe(true);
  }
});

describe('signal', () => {
  const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

  test('aborted before', async () => {
    const signal = AbortSignal.abort();
    await expect(busy.run(image, { signal })).rejects.toBe(signal.reason);
    await expect(busy.run(image, { signal })).rejects.toMatchObject({ name: 'AbortError' });
    const mine = new Error('mine');
    await expect(busy.run(image, { signal: AbortSignal.abort(mine) })).rejects.toBe(mine);
    expect(listeners(signal)).toBe(0);
  });

  test('bad arguments come first', async () => {
    const signal = AbortSignal.abort();
    await expectRejection(busy.run(wrong(1), { signal }), 'TYPE', 'input');
  });

  test('aborted during: rejects at once, writes nothing', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const out = new Float32Array(expected.length).fill(7);
    const pending = busy.run(image, { out, signal });
    expect(listeners(signal)).toBe(1);
    controller.abort();
    expect(listeners(signal)).toBe(0);
    await expect(pending).rejects.toMatchObject({ name: 'AbortError' });
    await busy.run(image);
    expect(out.every((v) => v === 7)).toBe(true);
  });

  test('aborted by a getter that is read after it', async () => {
    const controller = new AbortController();
    const options = {
      signal: controller.signal,
      add: {
        data: new Float32Array(expected.length),
        get shape() {
          controller.abort();
          return image.shape;
        },
      },
    };
    await expect(busy.run(image, options)).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('aborted after: no effect', async () => {
    const controller = new AbortController();
    const pending = busy.run(image, { signal: controller.signal });
    const { data } = await pending;
    expect(listeners(controller.signal)).toBe(0);
    controller.abort();
    expect(sameBits(data, expected)).toBe(true);
  });

  test('one of several, the others finish', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const pending = [
      busy.run(image),
      busy.run(image, { signal }),
      busy.run(image),
      busy.run(image, { signal }),
    ];
    controller.abort();
    const settled = await Promise.allSettled(pending);
    const statuses = settled.map(({ status }) => status);
    expect(statuses).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    for (const one of settled) {
      if (one.status === 'fulfilled') expect(sameBits(one.value.data, expected)).toBe(true);
    }
  });

  test('one for many calls has one listener, until the last has ended', async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on('warning', warn);
    const controller = new AbortController();
    const { signal } = controller;
    const calls = () => Array.from({ length: 20 }, () => busy.run(image, { signal }));
    const first = calls();
    expect(listeners(signal)).toBe(1);
    for (const { data } of await Promise.all(first)) expect(sameBits(data, expected)).toBe(true);
    expect(listeners(signal)).toBe(0);

    const second = calls();
    controller.abort();
    for (const one of await Promise.allSettled(second)) expect(one.status).toBe('rejected');
    expect(listeners(signal)).toBe(0);
    await new Promise((resolve) => setImmediate(resolve)); // warnings come late
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });
});

test('where arrays cannot be spread any more a call rejects, and the others go on', () => {
  const { stdout } = inChild(`
    import { Conv2d } from 'gemmconv';
    const layer = new Conv2d({ data: Float32Array.of(2), shape: [1, 1, 1, 1] });
    const calls = [0, 1, 2, 3, 4].map((x) =>
      layer.run({ data: Float32Array.of(x), shape: [1, 1, 1, 1] }));
    const iterate = Array.prototype[Symbol.iterator];
    let shapes = 0;
    Array.prototype[Symbol.iterator] = function () {
      if (this.length === 4 && ++shapes === 2) throw new Error('no iterator');
      return iterate.call(this);
    };
    for (const call of calls) call.then(({ data }) => console.log(data[0]), (e) => console.log(e.message));
    setTimeout(() => process.exit(), 2000);
    Promise.allSettled(calls).then(() => process.exit());
  `);
  // Whichever settles second meets the error: which one that is, is a race of the threads.
  const lines = stdout.trim().split('\n');
  const answers = ['0', '2', '4', '6', '8'];
  const lost = answers.filter((answer) => !lines.includes(answer));
  expect(lost).toHaveLength(1);
  expect(lines.toSorted()).toEqual([...answers, 'no iterator'].filter((line) => line !== lost[0]));
});

describe('a process with work in flight', () => {
  const setUp = `
    import { Conv2d } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    const layer = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
    const start = () => Array.from({ length: 8 }, () => layer.run(ones(1, 64, 112, 112)));
  `;
  const worker = `${setUp}
    import { parentPort } from 'node:worker_threads';
    start();
    parentPort.postMessage('started');
    if (process.argv[2] === 'throw') throw new Error('in the worker');
  `;

  test('exits when told to', () => {
    const { status, stderr } = inChild(`${setUp} start(); process.exit(7);`);
    expect(stderr).toBe('');
    expect(status).toBe(7);
  });

  test('ends with an uncaught error', () => {
    const { status, stderr } = inChild(`${setUp} start(); throw new Error('mine');`);
    expect(stderr).toMatch(/error: mine/i);
    expect(status).toBe(1);
  });

  test('waits for it otherwise', () => {
    const { status, stdout } = inChild(
      `${setUp} Promise.all(start()).then((all) => console.log(all.length));`,
    );
    expect(stdout).toBe('8\n');
    expect(status).toBe(0);
  });

  test.runIf(isNode)('survives the end of a worker', () => {
    const { status, stdout, stderr } = inChild(`${setUp}
      import { Worker } from 'node:worker_threads';
      import { once } from 'node:events';
      const mine = start();
      for (const how of ['terminate', 'terminate', 'throw', 'terminate']) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true, argv: [how] });
        worker.on('error', () => {});
        const exit = once(worker, 'exit');
        await once(worker, 'message');
        if (how === 'terminate') await worker.terminate();
        await exit;
      }
      console.log((await Promise.all(mine)).length);
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('8\n');
    expect(status).toBe(0);
  });
});

describe('a turn of the event loop', () => {
  /** Starts calls, lets them finish, and counts how many settle in each turn. */
  async function settledInTurns(calls: number, values: number): Promise<number[]> {
    const layer = new Conv2d({ data: Float32Array.of(1), shape: [1, 1, 1, 1] });
    const input = { data: new Float32Array(values), shape: [1, 1, 1, values] };
    await layer.run(input);
    let settled = 0;
    const turns: number[] = [];
    const started = Array.from({ length: calls }, () => layer.run(input).then(() => settled++));
    const end = performance.now() + 100;
    while (performance.now() < end);
    for (let before = 0; before < calls; before = settled) {
      await new Promise((resolve) => setImmediate(resolve));
      turns.push(settled - before);
    }
    await Promise.all(started);
    return turns;
  }

  test('settles some of many small calls', async () => {
    const turns = await settledInTurns(1000, 1);
    expect(Math.max(...turns)).toBeLessThanOrEqual(128);
  });

  test('settles a few of those that copied much', async () => {
    const turns = await settledInTurns(32, 65535);
    expect(Math.max(...turns)).toBeLessThanOrEqual(8);
  });
});

test('tickets are used again, however their calls end', async () => {
  let highest = 0;
  const { runAsync, admit } = binding;
  binding.runAsync = (...given) => {
    highest = Math.max(highest, given[5]);
    return runAsync(...given);
  };
  binding.admit = (...given) => {
    highest = Math.max(highest, given[5]);
    return admit(...given);
  };
  const layer = new Conv2d({ data: Float32Array.of(1), shape: [1, 1, 1, 1] });
  const input = { data: new Float32Array(8), shape: [1, 1, 1, 8] };
  const pooled = Buffer.allocUnsafe(4 * 8 + 4);
  const start = Math.ceil(pooled.byteOffset / 4) * 4;
  const untakable = { data: new Float32Array(pooled.buffer, start, 8), shape: [1, 1, 1, 8] };
  const { maxPending } = stats();
  const turn = async () => {
    await layer.run(input);
    await layer.run(input, { out: new Float32Array(8) });
    // Refused, where the runtime does not transfer pooled Buffers.
    await layer.run(untakable, { transfer: true }).catch(() => {});
    const controller = new AbortController();
    const aborted = layer.run(input, { signal: controller.signal });
    controller.abort();
    await aborted.catch(() => {});
    setLimits({ maxPending: 1 });
    await Promise.allSettled([layer.run(input), layer.run(input)]);
    setLimits({ maxPending });
    await layer.run(input);
  };
  for (let i = 0; i < 3; i++) await turn();
  const before = highest;
  for (let i = 0; i < 20; i++) await turn();
  Object.assign(binding, { runAsync, admit });
  expect(highest).toBe(before);
});
