import { setImmediate } from 'node:timers/promises';
import { Conv2d, setThreads, type Tensor } from 'gemmconv';
import type { Draw } from '../random.js';
import { Bystanders } from './memory.js';

/** A layer with an input and the one right output: all ones, so that an output counts its taps. */
interface Known {
  readonly layer: Conv2d;
  readonly input: Tensor;
  readonly expected: Float32Array;
}

const ones = (...shape: number[]): Tensor => ({
  data: new Float32Array(shape.reduce((product, extent) => product * extent)).fill(1),
  shape,
});

/** Some take microseconds, some many milliseconds. */
function known(channels: number, extent: number): Known {
  const layer = new Conv2d(ones(channels, channels, 3, 3), { algorithm: 'exact' });
  const input = ones(1, channels, extent, extent);
  const outputs = channels * (extent - 2) ** 2;
  return { layer, input, expected: new Float32Array(outputs).fill(9 * channels) };
}

function makeLayers(): Known[] {
  return [known(1, 3), known(3, 16), known(32, 30), known(64, 58)];
}

/**
 * Calls of all sorts until the time is over, right answers checked. `shared`, when given, is memory
 * that every thread reads and writes at the same time: no answer is right there, but none may do
 * harm.
 */
export async function work(draw: Draw, milliseconds: number, shared: SharedArrayBuffer) {
  const layers = makeLayers();
  const bystanders = new Bystanders();
  bystanders.settle(1000);
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    const one = draw.from(layers);
    await draw.from(WAYS)(one, draw, shared);
    bystanders.settle(4 * one.expected.length);
    if (draw.chance(0.1)) setThreads(draw.integer(1, 4));
    if (draw.chance(0.2)) await setImmediate();
  }
  if (!bystanders.unharmed()) throw new Error('another array was written to');
}

type Way = (one: Known, draw: Draw, shared: SharedArrayBuffer) => unknown;

const WAYS: readonly Way[] = [
  ({ layer, input, expected }) => check(layer.runSync(input).data, expected),
  async ({ layer, input, expected }) => check((await layer.run(input)).data, expected),
  ({ layer, input, expected }, draw) => {
    const calls = Array.from({ length: draw.integer(2, 12) }, () => layer.run(input));
    return Promise.all(calls.map(async (call) => check((await call).data, expected)));
  },
  async ({ layer, input, expected }, draw) => {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: draw.integer(1, 6) }, () => layer.run(input, { signal }));
    if (draw.chance(0.5)) await setImmediate();
    controller.abort();
    for (const outcome of await Promise.allSettled(calls)) {
      if (outcome.status === 'fulfilled') check(outcome.value.data, expected);
      else if (outcome.reason !== signal.reason) throw outcome.reason;
    }
  },
  async ({ layer, input, expected }, draw) => {
    const memory = (count: number) =>
      new Float32Array(new (draw.from([ArrayBuffer, SharedArrayBuffer]))(4 * count));
    const calls = Array.from({ length: draw.integer(1, 6) }, async () => {
      let out = memory(expected.length);
      for (let i = draw.integer(1, 3); i > 0; i--) {
        const data = memory(input.data.length).fill(1);
        out = (await layer.run({ data, shape: input.shape }, { out, transfer: true })).data;
        check(out, expected);
      }
    });
    return Promise.all(calls);
  },
  async ({ input, expected }) => {
    const channels = input.shape[1] as number;
    const brief = new Conv2d(ones(channels, channels, 3, 3));
    const call = brief.run(input);
    brief.dispose();
    const { data } = await call;
    if (data.length !== expected.length) throw new Error('a disposed layer lost its output');
  },
  async ({ layer, input, expected }, draw, shared) => {
    const view = (count: number) => new Float32Array(shared, 0, count);
    const data = view(input.data.length).fill(draw.integer(0, 9));
    const out = new Float32Array(shared, data.byteLength, expected.length);
    await layer.run({ data, shape: input.shape }, { out, add: out });
    await layer.run({ data, shape: input.shape }, { out, transfer: true });
    layer.runSync({ data, shape: input.shape }, { out });
  },
];

function check(data: Float32Array, expected: Float32Array): void {
  const bytes = (floats: Float32Array) => Buffer.from(floats.buffer);
  if (!bytes(data).equals(bytes(expected))) throw new Error('a wrong answer');
}
