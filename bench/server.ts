/**
 * What a server that computes convolutions beside other traffic wants to know: whether the event
 * loop turns, what `run` costs over `runSync`, and how long a small call waits behind a large one.
 *
 *     npm run bench:server
 *     npm run bench:server -- promises    a section alone: saturated, out, recycled, shared,
 *                                         promises, mixed
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
import { exchangeNanoseconds } from './exchange.js';
import { doNothing } from './internals.js';

const CONCURRENT = 32;
const SATURATED_MS = 4000;
const ROUNDS = 5;
const ROUND_MS = 500;

interface Load {
  readonly name: string;
  readonly layer: Conv2d;
  readonly input: Tensor;
}

/** What was reached: calls a second, and the processor time that one took, of all threads. */
interface Rate {
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
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

const copyOf = ({ data, shape }: Tensor): Tensor => ({ data: data.slice(), shape });

/** Starts a clock that tells the rate, once so many calls have been made. */
function startClock(): (calls: number) => Rate {
  const [begin, cpu] = [performance.now(), process.cpuUsage()];
  return (calls) => {
    const { user, system } = process.cpuUsage(cpu);
    const perSecond = (1000 * calls) / (performance.now() - begin);
    return { perSecond, cpuMicroseconds: (user + system) / calls };
  };
}

/** `runSync` in a loop, on the inputs in turn. */
function syncRate(
  layer: Conv2d,
  inputs: readonly Tensor[],
  out: Float32Array | undefined,
  ms: number,
): Rate {
  const options = out === undefined ? undefined : { out };
  const rate = startClock();
  let calls = 0;
  const end = performance.now() + ms;
  do {
    layer.runSync(inputs[calls % inputs.length] as Tensor, options);
    calls++;
  } while (performance.now() < end);
  return rate(calls);
}

/** Makes one of those who call `run` again and again: a function that makes one call. */
type Caller = (load: Load) => Call;
type Call = () => Promise<unknown>;

/** Input copied, output into fresh memory. Each caller has an input of his own. */
const copying: Caller = ({ layer, input }) => {
  const own = copyOf(input);
  return () => layer.run(own);
};

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
  const own = copyOf(input);
  let out = layer.runSync(own).data;
  return async () => {
    const output = await layer.run(own, { out, transfer: ['out'] });
    out = output.data;
  };
};

/** Input copied, output copied into the caller's memory. */
const copyingBoth: Caller = ({ layer, input }) => {
  const own = copyOf(input);
  const out = layer.runSync(own).data;
  return () => layer.run(own, { out });
};

/** A task of the pool that does nothing. */
const idling: Caller = () => doNothing;

/** So many of them, who have called once: their memory is there. */
async function callersOf(make: Caller, load: Load, count: number): Promise<Call[]> {
  const callers = Array.from({ length: count }, () => make(load));
  await Promise.all(callers.map((call) => call()));
  return callers;
}

/** All of them together. */
async function asyncRate(callers: readonly Call[], ms: number): Promise<Rate> {
  const rate = startClock();
  let calls = 0;
  const end = performance.now() + ms;
  const repeat = async (call: Call) => {
    while (performance.now() < end) {
      await call();
      calls++;
    }
  };
  await Promise.all(callers.map(repeat));
  return rate(calls);
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

/**
 * `runSync` in a loop, to compare with: on as many inputs as `run` has under way, each output into
 * fresh memory, as `run` returns it; and at its best, on one input and one output, both in the caches,
 * where a server's seldom are.
 */
function syncRates(layer: Conv2d, inputs: readonly Tensor[]): { alike: Rate; best: Rate } {
  const input = inputs[0] as Tensor;
  const out = layer.runSync(input).data;
  return {
    alike: syncRate(layer, inputs, undefined, ROUND_MS / 2),
    best: syncRate(layer, [input], out, ROUND_MS / 2),
  };
}

/** Reads a small file again and again; ends with the milliseconds that each read took. */
function reading(): () => Promise<number[]> {
  const times: number[] = [];
  const end = meanwhile(async () => {
    const begin = performance.now();
    await readFile('/etc/hostname');
    times.push(performance.now() - begin);
    await sleep(2);
  });
  return async () => {
    await end();
    return times;
  };
}

async function saturated(make: Caller, how: string): Promise<void> {
  console.log(`\n${CONCURRENT} pending calls for ${SATURATED_MS / 1000} s, ${how}`);
  console.log(
    `(marks: 0.9 of runSync in a loop over ${CONCURRENT} inputs into fresh memory, delay p99 < 5 ms,`,
  );
  console.log(
    `readFile p99 < 15 ms; medians of ${ROUNDS} rounds of both; line: from core to core and back)`,
  );
  row(
    ...['', 'run /s', 'of runSync', 'of it in cache', 'CPU µs a call', 'of runSync'],
    ...['delay p99 ms', 'readFile p99', 'busy', 'line ns'],
  );
  for (const one of [SMALL, MEDIUM, LARGE, HUGE]) {
    const callers = await callersOf(make, one, CONCURRENT);
    const inputs = callers.map(() => copyOf(one.input));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const reads: number[] = [];
    const rounds: number[][] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { alike, best } = syncRates(one.layer, inputs);
      const endReading = reading();
      const { busyMs } = stats();
      const begin = performance.now();
      delay.enable();
      const { perSecond, cpuMicroseconds } = await asyncRate(callers, SATURATED_MS / ROUNDS);
      delay.disable();
      const busy = (stats().busyMs - busyMs) / (performance.now() - begin) / getThreads();
      reads.push(...(await endReading()));
      rounds.push([
        ...[perSecond, perSecond / alike.perSecond, perSecond / best.perSecond],
        ...[cpuMicroseconds, alike.cpuMicroseconds, busy, await exchangeNanoseconds()],
      ]);
    }
    const medians = rounds[0]?.map((_, i) =>
      percentile(
        rounds.map((r) => r[i] as number),
        0.5,
      ),
    );
    const [run = 0, ofAlike = 0, ofBest = 0, cpu = 0, cpuAlike = 0, busy = 0, line = 0] =
      medians ?? [];
    const delayMs = delay.percentile(99) / 1e6 - 1; // less the sampling interval
    row(
      ...[one.name, run, ofAlike, ofBest, cpu, cpuAlike],
      ...[delayMs, percentile(reads, 0.99), busy, line],
    );
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
  const { layer, input } = SMALL;
  const out = layer.runSync(input).data;
  const syncMicroseconds = () => 1e6 / syncRate(layer, [input], out, ROUND_MS).perSecond;
  const all = getThreads();
  const sync = syncMicroseconds();
  setThreads(1);
  const alone = syncMicroseconds();
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
      1e6 / (await asyncRate(await callersOf(make, one, pending), ROUND_MS)).perSecond;
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
  out: () => saturated(copyingBoth, 'both copied'),
  recycled: () => saturated(recycling, 'output recycled'),
  shared: () => saturated(sharing, 'both in shared memory'),
  promises,
  mixed,
};
const wanted = process.argv.slice(2);
for (const [name, section] of Object.entries(SECTIONS)) {
  if (wanted.length === 0 || wanted.includes(name)) await section();
}
