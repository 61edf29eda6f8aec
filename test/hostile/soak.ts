// npm run soak -- [--minutes=2] [--hours=0]
// Uses the library the way a server does, for long, and says whether memory stays bounded: layers
// are built, used and dropped, synchronously and not, aborted, disposed of, in the main thread and
// in workers that come and go. Answers are checked. Status 1 for a wrong one, or for growth.
import { Worker } from 'node:worker_threads';
import { Conv2d } from 'gemmconv';
import { Draw } from '../random.js';
import { HostileCall } from './call.js';
import { integers } from './problem.js';
import { SHARED_BYTES } from './shared.js';
import { work } from './work.js';

/** What the least memory of a tenth of the time may exceed that of an earlier one by. */
const GROWTH_MIB = 24;
const MIB = 2 ** 20;

const given = new Map(
  process.argv.slice(2).map((argument) => {
    const [, name = '', value] = /^--(minutes|hours)=(\d+(?:\.\d+)?)$/.exec(argument) ?? [];
    if (name === '') {
      console.error(`Unknown: ${argument}. Known: --minutes=n --hours=n`);
      process.exit(2);
    }
    return [name, Number(value)] as const;
  }),
);
const hours = given.get('hours') ?? 0;
const minutes = 60 * hours + (given.get('minutes') ?? (hours > 0 ? 0 : 2));
const milliseconds = 60_000 * minutes;

const start = performance.now();
const elapsed = () => performance.now() - start;
const draw = new Draw(1);
const shared = new SharedArrayBuffer(SHARED_BYTES);
const count = { layers: 0, hostile: 0, workers: 0 };

/** Four hundred MiB of filters a second, at least, if nobody let go of them. */
async function dropLayers(): Promise<void> {
  const channels = 256;
  const shape = [channels, channels, 3, 3];
  const filter = { data: integers(draw, channels * channels * 9), shape };
  const input = { data: new Float32Array(channels * 9).fill(1), shape: [1, channels, 3, 3] };
  for (let i = 0; i < 20; i++, count.layers++) {
    const layer = new Conv2d(filter);
    if (i % 2 === 0) layer.runSync(input);
    else await layer.run(input);
    if (i % 3 === 0) layer.dispose();
  }
}

async function hostile(): Promise<void> {
  for (let i = 0; i < 20; i++, count.hostile++) {
    const seed = draw.integer(0, 2 ** 30);
    const call = new HostileCall(seed);
    await call.play().catch((cause) => {
      throw new Error(`seed ${seed}: ${call.description}`, { cause });
    });
  }
}

/** A worker of its own, ended or left to end. */
async function visit(): Promise<void> {
  const order = { seed: draw.integer(0, 1e9), milliseconds: draw.integer(0, 300), shared };
  const end = draw.from(['finish', 'exit', 'throw']);
  const url = new URL('./lifetimes.js', import.meta.url);
  const worker = new Worker(url, { workerData: { ...order, end } });
  worker.on('error', () => {});
  const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  if (draw.chance(0.3)) await worker.terminate();
  await gone;
  count.workers++;
}

/** Least and last resident memory of each tenth of the time. */
const tenths: { least: number }[] = [];

function sample(): void {
  const { rss } = process.memoryUsage();
  const tenth = Math.min(9, Math.floor((10 * elapsed()) / milliseconds));
  const known = tenths[tenth];
  tenths[tenth] = { least: Math.min(known?.least ?? Infinity, rss) };
  if (known !== undefined || tenth === 0) return;
  const { least } = tenths[tenth - 1] ?? { least: rss };
  console.log(
    `${(elapsed() / 1000).toFixed(0)} s: least ${(least / MIB).toFixed(0)} MiB; ` +
      `${count.layers} layers, ${count.hostile} hostile calls, ${count.workers} workers`,
  );
}

console.log(`${minutes} minutes, node ${process.version}, pid ${process.pid}`);
const sampler = setInterval(sample, 100);
while (elapsed() < milliseconds) {
  await Promise.all([dropLayers(), hostile(), visit(), work(draw, 300, shared)]);
}
clearInterval(sampler);

// The first fifth is for caches to fill. A leak shows in the floor, whatever the collector does.
const floors = tenths.map(({ least }) => least / MIB);
const early = Math.min(...floors.slice(2, 5));
const late = Math.min(...floors.slice(7));
const verdict = late - early < GROWTH_MIB ? 'bounded' : 'GROWING';
console.log(
  `memory ${verdict}: at least ${early.toFixed(0)} MiB early, ${late.toFixed(0)} MiB late`,
);
if (verdict !== 'bounded') process.exitCode = 1;
