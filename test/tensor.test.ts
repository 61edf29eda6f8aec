import { describe, expect, test } from 'vitest';
import { Conv2d } from '../lib/index.js';
import type { Tensor } from '../lib/types.js';
import { inChild, isNode } from './child.js';
import { PATIENCE } from './patience.js';
import { detach, expectRejection, expectThrow, ones, otherRealm, wrong } from './wrong.js';

// One pixel of the filter: the output is the input.
const identity = new Conv2d(ones(1, 1, 1, 1));

function row(data: Float32Array, length = data.length): Tensor {
  return { data, shape: [1, 1, 1, length] };
}

async function expectBoth(given: Tensor, argument: string): Promise<void> {
  expectThrow(() => identity.runSync(given), 'VALUE', argument);
  await expectRejection(identity.run(given), 'VALUE', argument);
}

// The commonest: an await that is missing.
test('an object without data and shape', async () => {
  const tensor = 'a tensor { data, shape }';
  const promise = wrong(identity.run(row(new Float32Array(8))));
  await expect(identity.run(promise)).rejects.toThrow(
    `Expected ${tensor} for input, received an instance of Promise`,
  );
  expect(() => identity.runSync(ones(1, 1, 1, 8), { add: promise })).toThrow(
    `Expected a Float32Array or ${tensor} for options.add, received an instance of Promise`,
  );
  expect(() => new Conv2d(wrong({}))).toThrow(`Expected ${tensor} for filter, received an object`);
});

describe('memory that is gone', () => {
  test('detached', async () => {
    const gone = new Float32Array(8);
    detach(gone);
    await expectBoth(row(gone, 8), 'input.data');
    for (const name of ['add', 'out']) {
      const options = { [name]: gone };
      expectThrow(() => identity.runSync(ones(1, 1, 1, 8), options), 'VALUE', `options.${name}`);
      await expectRejection(identity.run(ones(1, 1, 1, 8), options), 'VALUE', `options.${name}`);
    }
  });

  test('detached, but nothing was expected of it', async () => {
    const gone = new Float32Array(8);
    detach(gone);
    const empty = { data: gone, shape: [0, 1, 1, 8] };
    expect(identity.runSync(empty, { out: empty, add: empty }).data).toBe(gone);
    expect((await identity.run(empty, { out: empty, add: empty })).data).toBe(gone);
    expect(new Conv2d({ data: gone, shape: [1, 0, 1, 1] }).outputShape([1, 0, 1, 1])[1]).toBe(1);
  });

  test('detached by a getter of an option read later', async () => {
    for (const method of ['runSync', 'run'] as const) {
      const data = new Float32Array(8);
      const options = {
        get add(): undefined {
          detach(data);
          return undefined;
        },
      };
      const call = async () => identity[method](row(data), options);
      await expectRejection(call(), 'VALUE', 'input.data');
    }
  });

  test('an extent whose getter detaches the data', async () => {
    const data = new Float32Array(8);
    const shape = Object.defineProperty([1, 1, 1], 3, {
      get() {
        detach(data);
        return 8;
      },
    });
    expectThrow(() => identity.runSync({ data, shape }), 'VALUE', 'input.data');
  });

  test('a resizable buffer, shrunk and grown', async () => {
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const buffer = new Resizable(32, { maxByteLength: 64 });
    const fixed = row(new Float32Array(buffer, 0, 8), 8);
    const tracking = row(new Float32Array(buffer), 8);
    expect(identity.runSync(fixed).shape).toEqual([1, 1, 1, 8]);
    expect(identity.runSync(tracking).shape).toEqual([1, 1, 1, 8]);
    buffer.resize(64);
    expect(identity.runSync(fixed).shape).toEqual([1, 1, 1, 8]);
    await expectBoth(tracking, 'input.data');
    buffer.resize(0);
    await expectBoth(fixed, 'input.data');
    await expectBoth(tracking, 'input.data');
  });
});

test.runIf(isNode)(
  'a filter that another thread grows while it is copied',
  { timeout: 60_000 * PATIENCE },
  () => {
    // It is longer than its shape says by then, or it was not: never anything else.
    const { status, stdout, stderr } = inChild(`
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    import { Conv2d } from 'gemmconv';
    const [OC, C] = [256, 64];
    const bytes = 4 * OC * C * 9;
    const flags = new Int32Array(new SharedArrayBuffer(8)); // go, grown
    const worker = new Worker(\`
      import { parentPort, workerData as flags } from 'node:worker_threads';
      parentPort.on('message', ({ buffer, spins }) => {
        parentPort.postMessage('ready');
        while (Atomics.load(flags, 0) === 0);
        for (let i = 0; i < spins; i++) Atomics.load(flags, 0);
        buffer.grow(buffer.maxByteLength);
        Atomics.store(flags, 1, 1);
        Atomics.notify(flags, 1);
      });
    \`, { eval: true, workerData: flags });
    const seen = new Set();
    for (let attempt = 0; attempt < 400; attempt++) {
      const buffer = new SharedArrayBuffer(bytes, { maxByteLength: 2 * bytes });
      const filter = { data: new Float32Array(buffer), shape: [OC, C, 3, 3] };
      flags.fill(0);
      worker.postMessage({ buffer, spins: (attempt % 100) * 20 });
      await once(worker, 'message');
      Atomics.store(flags, 0, 1);
      try {
        new Conv2d(filter);
      } catch (error) {
        seen.add(error.code ?? error.message);
      }
      Atomics.wait(flags, 1, 0);
    }
    seen.delete('ERR_INVALID_ARG_VALUE');
    console.log(...seen);
    await worker.terminate();
  `);
    expect(stderr).toBe('');
    expect(stdout).toBe('\n');
    expect(status).toBe(0);
  },
);

describe('what is a Float32Array', () => {
  test('not one that lies about its length', () => {
    const short = new Float32Array(3);
    Object.defineProperty(short, 'length', { value: 8 });
    expectThrow(() => identity.runSync(row(short, 8)), 'VALUE', 'input.data');
  });

  test('not one that lies about its kind', () => {
    const bytes = new Uint8Array(32);
    Object.defineProperty(bytes, Symbol.toStringTag, { value: 'Float32Array' });
    Object.setPrototypeOf(bytes, Float32Array.prototype);
    expectThrow(() => identity.runSync(row(wrong(bytes), 8)), 'TYPE', 'input.data');
  });

  test('subclasses, other realms, and shared memory', () => {
    class Sub extends Float32Array {}
    const shared = () => new Float32Array(new SharedArrayBuffer(32));
    for (const data of [new Sub(8), otherRealm(8), shared()]) {
      const out = shared();
      data.fill(5);
      expect(identity.runSync(row(data), { out }).data).toBe(out);
      expect(Array.from(out)).toEqual(Array(8).fill(5));
      expect(new Conv2d({ data, shape: [8, 1, 1, 1] }).outputShape([1, 1, 1, 1])[1]).toBe(8);
    }
  });
});

test('every property is read exactly once', () => {
  const reads: string[] = [];
  const spy = <T extends object>(target: T, prefix: string): T =>
    new Proxy(target, {
      get(object, key) {
        if (typeof key === 'string') reads.push(`${prefix}${key}`);
        return Reflect.get(object, key);
      },
    });
  const expectOnce = (name: string) => {
    expect(new Set(reads).size).toBe(reads.length);
    expect(reads).toContain(name);
    reads.length = 0;
  };
  const tensor = (name: string, ...shape: number[]): Tensor => {
    const { data } = ones(...shape);
    return spy({ data, shape: spy(shape, `${name}.shape.`) }, `${name}.`);
  };
  const options = {
    stride: spy([1, 1] as const, 'stride.'),
    padding: spy({ top: 1, left: 0, bottom: 0, right: 0 }, 'padding.'),
    activation: spy({ type: 'clamp', min: 0, max: 1 } as const, 'activation.'),
    bias: tensor('bias', 2),
  };
  const layer = new Conv2d(tensor('filter', 2, 1, 1, 1), spy(options, 'options.'));
  expectOnce('padding.top');
  const run = { add: tensor('add', 1, 2, 3, 2), out: tensor('out', 1, 2, 3, 2) };
  layer.runSync(tensor('input', 1, 1, 2, 2), spy(run, 'options.'));
  expectOnce('out.shape.3');
});

describe('overlap', () => {
  const at = (buffer: ArrayBufferLike, start: number): Tensor =>
    row(new Float32Array(buffer, 4 * start, 8));

  test.each([8, 1, 15])('an output from 8 to 16, an input from %d', (start) => {
    for (const buffer of [new ArrayBuffer(256), new SharedArrayBuffer(256)]) {
      const [out, other] = [at(buffer, 8), at(buffer, start)];
      const apart = ones(1, 1, 1, 8);
      expectThrow(() => identity.runSync(other, { out }), 'VALUE', 'options.out');
      expectThrow(() => identity.runSync(apart, { add: other, out }), 'VALUE', 'options.out');
    }
  });

  test.each([0, 16])('an output from 8 to 16, an input from %d: no overlap', (start) => {
    for (const buffer of [new ArrayBuffer(256), new SharedArrayBuffer(256)]) {
      const [out, other] = [at(buffer, 8), at(buffer, start)];
      other.data.fill(3);
      expect(identity.runSync(other, { out, add: other }).data).toEqual(out.data);
      expect(out.data[7]).toBe(6);
    }
  });

  test('an asynchronous call may write over its own input', async () => {
    const data = ones(1, 1, 1, 8);
    const result = await identity.run(data, { out: data, add: data });
    expect(result.data).toBe(data.data);
    expect(Array.from(data.data)).toEqual(Array(8).fill(2));
  });
});
