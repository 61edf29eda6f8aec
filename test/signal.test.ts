// Signals of the caller's own making: whatever looks like an AbortSignal is taken for one, so its
// code runs in the middle of a call, and may do anything.
import { expect, test } from 'vitest';
import { Conv2d } from '../lib/index.js';
import { inChild } from './child.js';
import { ones, wrong } from './wrong.js';

const layer = new Conv2d(ones(32, 32, 3, 3), { padding: 1 });
const input = ones(1, 32, 40, 40);
const expected = layer.runSync(input).data;
const mine = new Error('mine');

function fail(): never {
  throw mine;
}

interface FakeSignal {
  aborted: boolean;
  reason: unknown;
  addEventListener(name: string, listener: () => void): void;
  removeEventListener(name: string, listener: () => void): void;
}

function fakeSignal(changes: Partial<FakeSignal> = {}) {
  const listeners: (() => void)[] = [];
  const signal: FakeSignal = {
    ...{ aborted: false, reason: mine },
    addEventListener: (_, listener) => listeners.push(listener),
    removeEventListener: () => {},
  };
  Object.defineProperties(signal, Object.getOwnPropertyDescriptors(changes));
  return { signal: wrong(signal) as AbortSignal, listeners };
}

/** Calls made before and after are as they must be. */
async function expectOthersFine(others: Promise<{ data: Float32Array }>[]): Promise<void> {
  for (const { data } of await Promise.all([...others, layer.run(input)])) {
    expect(Buffer.from(data.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  }
}

test('that cannot let go of its listeners', async () => {
  const { signal } = fakeSignal({ removeEventListener: fail });
  const others = [layer.run(input), layer.run(input)];
  const { data } = await layer.run(input, { signal });
  expect(data).toHaveLength(expected.length);
  await expectOthersFine(others);
});

test.each([
  ['addEventListener throws', { addEventListener: fail }],
  [
    'its reason throws',
    {
      addEventListener: (_: string, listener: () => void) => listener(),
      get reason() {
        return fail();
      },
    },
  ],
  [
    'it is aborted while it takes the listener',
    {
      addEventListener(this: FakeSignal) {
        this.aborted = true;
      },
    },
  ],
])('when %s the call rejects with that, and writes nothing', async (_, changes) => {
  const { signal } = fakeSignal(changes);
  const others = [layer.run(input), layer.run(input)];
  const out = new Float32Array(expected.length).fill(7);
  await expect(layer.run(input, { signal, out })).rejects.toBe(mine);
  await expectOthersFine(others);
  expect(out.every((value) => value === 7)).toBe(true);
});

test('whose `aborted` throws, the second or third time it is read', async () => {
  for (const limit of [1, 2, 3]) {
    let reads = 0;
    const { signal } = fakeSignal({
      get aborted() {
        return ++reads > limit ? fail() : false;
      },
    });
    const out = new Float32Array(expected.length).fill(7);
    const outcome = await layer.run(input, { signal, out }).catch((error) => error);
    if (outcome === mine) expect(out.every((value) => value === 7)).toBe(true);
    else expect(outcome.data).toBe(out);
    await expectOthersFine([]);
  }
});

test('that tells of its abort twice, and again when all is over', () => {
  const { status, stdout, stderr } = inChild(`
    import { Conv2d } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    const layer = new Conv2d(ones(32, 32, 3, 3), { algorithm: 'exact' });
    for (const when of ['early', 'late']) {
      for (let repeat = 0; repeat < 50; repeat++) {
        const listeners = [];
        const signal = {
          aborted: false, reason: 'mine',
          addEventListener: (_, listener) => listeners.push(listener),
          removeEventListener() {},
        };
        const tell = () => { for (const listener of listeners) listener(); };
        const call = layer.run(ones(1, 32, 30, 30), { signal }).then(() => 'done', (reason) => reason);
        const other = layer.run(ones(1, 32, 30, 30));
        if (when === 'early') { tell(); tell(); }
        if (await call !== (when === 'early' ? 'mine' : 'done')) console.log('wrong', when);
        tell();
        const after = layer.run(ones(1, 32, 30, 30));
        tell();
        for (const { data } of await Promise.all([other, after])) {
          if (data.some((value) => value !== 288)) console.log('wrong answer');
        }
      }
    }
    console.log('all is well');
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('all is well\n');
  expect(status).toBe(0);
});

test('that disposes of the layer, or calls it again, while it is asked', async () => {
  const own = new Conv2d(ones(32, 32, 3, 3), { padding: 1 });
  const { signal } = fakeSignal({
    get aborted() {
      layer.runSync(ones(1, 32, 3, 3));
      return false;
    },
    addEventListener: () => own.dispose(),
  });
  const { data } = await own.run(input, { signal });
  expect(data).toHaveLength(expected.length);
  await expectOthersFine([]);
});

test('that calls a layer whose filter has just been packed, before the loop was told', () => {
  const { status, stdout, stderr } = inChild(`
    import { Conv2d } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    const wait = (ms) => { for (const end = performance.now() + ms; performance.now() < end; ); };
    const x = ones(1, 32, 10, 10);
    const first = new Conv2d(ones(32, 32, 3, 3), { algorithm: 'exact' });
    await first.run(x);
    const second = new Conv2d(ones(32, 32, 3, 3), { algorithm: 'exact' });
    let inner;
    const signal = {
      aborted: false, reason: 'mine', addEventListener() {},
      removeEventListener() { inner ??= second.run(x); },
    };
    const outer = first.run(x, { signal });
    wait(50); // it finishes
    const packing = second.run(x);
    wait(50); // and so do the packing and what waits for it: all three are settled together
    for (const { data } of [await outer, await packing, await inner]) {
      if (data.some((value) => value !== 288)) console.log('wrong answer');
    }
    console.log('all is well');
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('all is well\n');
  expect(status).toBe(0);
});

test('that aborts a call which is settled in the same turn', () => {
  const { status, stdout } = inChild(
    `const { Conv2d, stats } = await import('gemmconv');
    const layer = new Conv2d({ data: new Float32Array(1).fill(2), shape: [1, 1, 1, 1] });
    const input = { data: new Float32Array(8).fill(1), shape: [1, 1, 1, 8] };
    await layer.run(input);
    for (const options of [{}, { out: new Float32Array(8) }]) {
      const second = new AbortController();
      const signal = {
        aborted: false,
        addEventListener() {},
        removeEventListener: () => second.abort(),
      };
      const calls = [
        layer.run(input, { signal }),
        layer.run(input, { ...options, signal: second.signal }),
        layer.run(input),
      ];
      const end = Date.now() + 50;
      while (Date.now() < end);
      const settled = await Promise.allSettled(calls);
      console.log(settled.map(({ value }) => value?.data[7]).join(), stats().pending);
    }`,
  );
  expect(stdout).toBe('2,2,2 0\n2,2,2 0\n');
  expect(status).toBe(0);
});
