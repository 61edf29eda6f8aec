// node build/hostile/test/hostile/lifetimes.js SEED
// A process whose worker threads start, end and die with calls in flight, as the seed decides. It
// prints what end it will come to: `finish` (status 0), `exit` (7) or `throw` (1).
import { writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Draw } from '../random.js';
import { SHARED_BYTES } from './shared.js';

const WORKER_ENDS = ['finish', 'terminate', 'terminate', 'exit', 'throw', 'outlive'] as const;
const ENDS = ['finish', 'finish', 'exit', 'throw'] as const;

interface WorkerOrder {
  readonly seed: number;
  readonly end: (typeof WORKER_ENDS)[number];
  readonly milliseconds: number;
  readonly shared: SharedArrayBuffer;
}

const PLANNED = 'this was planned';

/** Imported late: main thread and workers load the addon in any order. */
async function work(draw: Draw, milliseconds: number, shared: SharedArrayBuffer) {
  const module = await import('./work.js');
  await module.work(draw, milliseconds, shared);
}

async function worker({ seed, end, milliseconds, shared }: WorkerOrder): Promise<void> {
  const draw = new Draw(seed);
  if (draw.chance(0.15)) startWorker(draw, shared);
  const working = work(draw, end === 'finish' ? milliseconds : 10_000, shared);
  working.catch((error) => parentPort?.postMessage({ wrong: String(error.stack) }));
  parentPort?.postMessage({ started: true });
  if (end === 'exit' || end === 'throw') {
    await setTimeout(milliseconds);
    if (end === 'exit') process.exit(0);
    throw new Error(PLANNED);
  }
  await working;
}

/** Resolves when the worker is gone; at once where it is to outlive the main thread. */
async function startWorker(draw: Draw, shared: SharedArrayBuffer): Promise<void> {
  const order: WorkerOrder = {
    ...{ seed: draw.integer(0, 1e9), end: draw.from(WORKER_ENDS) },
    ...{ milliseconds: draw.integer(0, 120), shared },
  };
  const thread = new Worker(new URL(import.meta.url), { workerData: order });
  thread.on('message', ({ wrong }) => wrong !== undefined && fail(wrong));
  thread.on('error', (error) => error.message !== PLANNED && fail(String(error.stack)));
  if (order.end === 'outlive') return thread.unref();
  const gone = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  if (order.end === 'terminate') {
    await setTimeout(order.milliseconds);
    await thread.terminate();
  }
  await gone;
}

function fail(what: string): never {
  writeSync(1, `wrong: ${what}\n`);
  process.exit(3);
}

async function main(seed: number): Promise<void> {
  const draw = new Draw(seed);
  const end = draw.from(ENDS);
  writeSync(1, `${end}\n`);
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const late = draw.chance(0.5);
  const working = late ? Promise.resolve() : work(draw, draw.integer(0, 250), shared);
  const workers = Array.from({ length: draw.integer(1, 3) }, async () => {
    await setTimeout(draw.integer(0, 60));
    await startWorker(draw, shared);
  });
  if (late) await work(draw, draw.integer(0, 250), shared).catch((error) => fail(error.stack));
  if (end === 'finish') {
    await Promise.all([working, ...workers]).catch((error) => fail(error.stack));
    return;
  }
  await setTimeout(draw.integer(0, 150));
  if (end === 'exit') process.exit(7);
  throw new Error(PLANNED);
}

if (isMainThread) await main(Number(process.argv[2] ?? 1));
else await worker(workerData as WorkerOrder);
