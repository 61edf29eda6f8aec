/**
 * What a server that computes convolutions beside other traffic wants to know: whether the event
 * loop turns, what `run` costs over `runSync`, and how long a small call waits behind a large one.
 *
 *     npm run bench:server
 *     npm run bench:server -- promises    a section alone: saturated, shared, recycled, promises,
 *                                         mixed
 */
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Conv2d,
  getThreads,
  info,
  type RunOptions,
  setThreads,
  stats,
  type Tensor,
} from 'gemmconv';
import { doNothing } from './internals.js';

const CONCURRENT = 32;
const SATURATED_MS = 4000;
const ROUND_MS = 500;

interface Load {
  readonly name: string;
  readonly layer: Conv2d;
  readonly input: Tensor;
}

function load(
  name: string,
  batch: number,
  C: number,
  OC: number,
  extent: number,
  kernel = 3,
): Load {
  const layer = new Conv2d(tensor(OC, C, kernel, kernel), { padding: (kernel - 1) / 2 });
  return { name, layer, input: tensor(batch, C, extent, extent) };
}

function tensor(...shape: number[]): Tensor {
  const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  for (let i = 0; i < data.length; i++) data[i] = Math.sin(i);
  return { data, shape };
}

const EMPTY = load('1x1_1-1@1', 1, 1, 1, 1, 1);
const SMALL = load('3x3_3-16@32', 1, 3, 16, 32);
const MEDIUM = load('3x3_64-64@56', 1, 64, 64, 56);
const LARGE = load('3x3_512-512@28', 1, 512, 512, 28);
const HUGE = load('3x3_512-512@28 n16', 16, 512, 512, 28);

/** Calls a second of `runSync`. */
function syncRate({ layer, input }: Load, out: Float32Array | undefined, ms: number): number {
  const options = out === undefined ? undefined : { out };
  let calls = 0;
  const begin = performance.now();
  do {
    layer.runSync(input, options);
    calls++;
  } while (performance.now() - begin < ms);
  return (1000 * calls) / (performance.now() - begin);
}

/** Makes one of those who call `run` again and again: a function that makes one call. */
type Caller = (load: Load) => Call;
type Call = () => Promise<unknown>;

/** Input copied, output into fresh memory. */
const copying: Caller =
  ({ layer, input }) =>
  () =>
    layer.run(input);

/** Each caller has an input and an output of his own in shared memory, and uses them in place. */
const sharing: Caller = ({ layer, input }) => {
  const shared = (count: number) => new Float32Array(new SharedArrayBuffer(4 * count));
  const data = shared(input.data.length);
  data.set(input.data);
  const own = { data, shape: input.shape };
  const out = shared(layer.outputShape(input.shape).reduce((product, extent) => product * extent));
  const options: RunOptions = { out, transfer: true };
  return () => layer.run(own, options);
};

/** Input copied, output into the memory of the caller's previous one, given away each time. */
const recycling: Caller = ({ layer, input }) => {
  let out = layer.runSync(input).data;
  return async () => {
    const output = await layer.run(input, { out, transfer: ['out'] });
    out = output.data;
  };
};

/** A task of the pool that does nothing. */
const idling: Caller = () => doNothing;

/** So many of them, who have called once: their memory is there. */
async function callersOf(make: Caller, load: Load, count: number): Promise<Call[]> {
  const callers = Array.from({ length: count }, () => make(load));
  await Promise.all(callers.map((call) => call()));
  return callers;
}

/** Calls a second of them together. */
async function asyncRate(callers: readonly Call[], ms: number): Promise<number> {
  let calls = 0;
  const begin = performance.now();
  const repeat = async (call: Call) => {
    while (performance.now() - begin < ms) {
      await call();
      calls++;
    }
  };
  await Promise.all(callers.map(repeat));
  return (1000 * calls) / (performance.now() - begin);
}

/** Milliseconds of one call after the other. */
async function latencies({ layer, input }: Load, ms: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + ms;
  for (let begin = performance.now(); begin < end; ) {
    await layer.run(input);
    const now = performance.now();
    times.push(now - begin);
    begin = now;
  }
  return times;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Repeats something until told to end. */
function meanwhile(turn: () => Promise<unknown>): () => Promise<void> {
  let isOver = false;
  const done = (async () => {
    while (!isOver) await turn();
  })();
  return () => {
    isOver = true;
    return done;
  };
}

const row = (...cells: (string | number)[]) =>
  console.log(
    cells
      .map((cell, i) => {
        const text = typeof cell === 'number' ? cell.toFixed(cell < 100 ? 2 : 0) : cell;
        return i === 0 ? text.padEnd(22) : text.padStart(14);
      })
      .join(''),
  );

async function saturated(make: Caller, how: string): Promise<void> {
  console.log(
    `\n${CONCURRENT} pending calls for ${SATURATED_MS / 1000} s, ${how} (marks: delay p99 < 5 ms,`,
  );
  console.log(
    'readFile p99 < 15 ms, 0.9 of runSync in a loop into fresh memory, as run returns it)',
  );
  row('', 'run /s', 'of runSync', 'of it with out', 'delay p99 ms', 'readFile p99', 'busy');
  for (const one of [SMALL, MEDIUM, LARGE, HUGE]) {
    const out = one.layer.runSync(one.input).data;
    const fresh = syncRate(one, undefined, ROUND_MS);
    const reused = syncRate(one, out, ROUND_MS);
    const callers = await callersOf(make, one, CONCURRENT);
    const reads: number[] = [];
    const endReading = meanwhile(async () => {
      const begin = performance.now();
      await readFile('/etc/hostname');
      reads.push(performance.now() - begin);
      await sleep(2);
    });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const busyBefore = stats().busyMs;
    delay.enable();
    const begin = performance.now();
    const rate = await asyncRate(callers, SATURATED_MS);
    const busy = (stats().busyMs - busyBefore) / (performance.now() - begin) / getThreads();
    delay.disable();
    await endReading();
    const delayMs = delay.percentile(99) / 1e6 - 1; // less the sampling interval
    row(one.name, rate, rate / fresh, rate / reused, delayMs, percentile(reads, 0.99), busy);
  }
}

/**
 * The event loop and the pool share the cores, so the rate of small calls is bounded by what their
 * computing alone takes of all cores, however cheap a promise is.
 */
async function promises(): Promise<void> {
  console.log(
    '\nWhat a promise costs, µs a call (marks: 2 to 8; small at 0.6 of the rate of empty).',
  );
  const out = SMALL.layer.runSync(SMALL.input).data;
  const all = getThreads();
  const sync = 1e6 / syncRate(SMALL, out, ROUND_MS);
  setThreads(1);
  const alone = 1e6 / syncRate(SMALL, out, ROUND_MS);
  setThreads(all);
  console.log(
    `${SMALL.name} in runSync: ${alone.toFixed(1)} µs on one thread, ${sync.toFixed(1)} on ${all};` +
      ' of empty: below, the best that cores could do which computed and did nothing else',
  );
  row(
    'pending',
    'empty task',
    '1x1_1-1@1',
    SMALL.name,
    'out recycled',
    'shared',
    'of empty',
    'bound',
  );
  for (const pending of [1, CONCURRENT, 256]) {
    const microseconds = async (make: Caller, one: Load) =>
      1e6 / (await asyncRate(await callersOf(make, one, pending), ROUND_MS));
    const empty = await microseconds(idling, EMPTY);
    const tiny = await microseconds(copying, EMPTY);
    const copied = await microseconds(copying, SMALL);
    const recycled = await microseconds(recycling, SMALL);
    const shared = await microseconds(sharing, SMALL);
    const best = Math.min(copied, recycled, shared);
    const bound = alone / info().cores;
    row(`${pending}`, empty, tiny, copied, recycled, shared, empty / best, empty / bound);
  }
}

async function mixed(): Promise<void> {
  console.log(`\nSmall calls, one after the other, beside ${HUGE.name} without end`);
  console.log('(mark: p99 beside it < 10 × p50 alone)');
  row('', 'alone p50 µs', 'p99', 'beside p50', 'p99', 'p99/p50 alone', 'huge /s');
  for (const one of [SMALL, MEDIUM]) {
    const alone = await latencies(one, 1000);
    let hugeCalls = 0;
    const endHuge = meanwhile(() => HUGE.layer.run(HUGE.input).then(() => hugeCalls++));
    await sleep(200);
    const beside = await latencies(one, SATURATED_MS);
    const hugeRate = (1000 * hugeCalls) / (SATURATED_MS + 200);
    await endHuge();
    const [p50, p99] = [percentile(alone, 0.5), percentile(beside, 0.99)];
    const us = (ms: number) => 1000 * ms;
    row(
      ...[one.name, us(p50), us(percentile(alone, 0.99)), us(percentile(beside, 0.5))],
      ...[us(p99), p99 / p50, hugeRate],
    );
  }
}

const { isa, threads, version } = info();
console.log(`gemmconv ${version}, ${isa}, ${threads} threads, Node ${process.version}`);
const SECTIONS = {
  saturated: () => saturated(copying, 'input copied, output fresh'),
  shared: () => saturated(sharing, 'both in shared memory'),
  recycled: () => saturated(recycling, 'output recycled'),
  promises,
  mixed,
};
const wanted = process.argv.slice(2);
for (const [name, section] of Object.entries(SECTIONS)) {
  if (wanted.length === 0 || wanted.includes(name)) await section();
}
