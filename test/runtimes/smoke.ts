// What a user may expect on every runtime, of the package as it was installed.
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import * as gemmconv from 'gemmconv';
import { Conv2d, conv2d, conv2dSync, info, setLimits, stats, type Tensor } from 'gemmconv';
import { goldenConv2d } from '../golden/conv2d.js';
import { describeProblem, type Kind, randomProblem } from '../problems.js';
import { check, equal, rejection, sameBits, summarize, thrown } from './check.js';
import type { Report } from './worker.js';

function ones(...shape: number[]): Tensor {
  return { data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape };
}

/** Long enough to be under way for some ten milliseconds. */
const busy = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
const image = ones(1, 64, 112, 112);
const expected = busy.runSync(image).data;

await check('import and require give the same', () => {
  const required = createRequire(import.meta.url)('gemmconv') as typeof gemmconv;
  equal(Object.keys(required).sort(), Object.keys(gemmconv).sort());
  equal(required.Conv2d === Conv2d, true);
});

const hasFma = info().isa !== 'baseline' || process.arch === 'arm64';
const kinds: readonly Kind[] = ['general', 'deep', 'wide', 'grouped'];
for (const kind of hasFma ? kinds : []) {
  for (let seed = 1; seed <= 25; seed++) {
    const problem = randomProblem(seed, kind);
    await check(`exact: ${describeProblem(problem)}`, async () => {
      const { filter, bias, add, stride, asked: padding, dilation, groups } = problem;
      const { activation, layout, filterLayout } = problem;
      const options = { bias, stride, padding, dilation, groups, activation, layout, filterLayout };
      const layer = new Conv2d(filter, { ...options, algorithm: 'exact' });
      const golden = goldenConv2d(problem, 'fma32');
      sameBits(layer.runSync(problem.input, { add }).data, golden.data, 'runSync');
      sameBits((await layer.run(problem.input, { add })).data, golden.data, 'run');
      layer.dispose();
    });
  }
}

await check('conv2d, conv2dSync, plan, outputShape', async () => {
  const filter = ones(8, 3, 3, 3);
  const once = await conv2d(ones(2, 3, 9, 9), filter, { stride: 2 });
  equal(once.shape, [2, 8, 4, 4]);
  equal(conv2dSync(ones(2, 3, 9, 9), filter, { stride: 2 }).data[0], 27);
  equal(busy.outputShape(image.shape), image.shape);
  equal(busy.plan(image.shape).isa, info().isa);
});

await check('out', async () => {
  const out = new Float32Array(expected.length);
  busy.runSync(image, { out });
  sameBits(out, expected, 'runSync');
  out.fill(7);
  const pending = busy.run(image, { out });
  equal(out[0], 7, 'before the promise resolves');
  equal((await pending).data === out, true);
  sameBits(out, expected, 'run');
});

await check('200 at once, each with its own answer', async () => {
  const layer = new Conv2d(ones(1, 1, 1, 1));
  const inputs = Array.from({ length: 200 }, (_, i) => new Float32Array(1 + (i % 7) * 100).fill(i));
  const outputs = await Promise.all(
    inputs.map((data) => layer.run({ data, shape: [1, 1, 1, data.length] })),
  );
  for (const [i, { data }] of outputs.entries()) sameBits(data, inputs[i] as Float32Array, `${i}`);
});

await check('the event loop turns meanwhile', async () => {
  let turns = 0;
  let isDone = false;
  const pending = busy.run(ones(8, 64, 112, 112)).finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await new Promise((resolve) => setImmediate(resolve));
    turns++;
  }
  await pending;
  if (turns <= 3) throw new Error(`${turns} turns`);
});

await check('the input transferred while it is read', async () => {
  for (let i = 0; i < 5; i++) {
    const data = image.data.slice();
    const pending = busy.run({ data, shape: image.shape });
    structuredClone(data.buffer, { transfer: [data.buffer] });
    equal(data.length, 0, 'the transfer');
    const noise = Array.from({ length: 4 }, () => new Float32Array(1e5).fill(Number.NaN));
    sameBits((await pending).data, expected, 'output');
    equal(noise.length, 4);
  }
});

await check('`out` transferred before it is written', async () => {
  const out = new Float32Array(expected.length);
  const pending = busy.run(image, { out });
  structuredClone(out.buffer, { transfer: [out.buffer] });
  equal((await rejection(pending)).code, 'ERR_INVALID_ARG_VALUE');
});

await check('abort before, during, by time, after', async () => {
  const aborted = AbortSignal.abort();
  equal(await rejection(busy.run(image, { signal: aborted })), aborted.reason);
  equal((await rejection(busy.run(image, { signal: aborted }))).name, 'AbortError');

  const controller = new AbortController();
  const out = new Float32Array(expected.length).fill(7);
  const pending = busy.run(image, { signal: controller.signal, out });
  controller.abort();
  equal((await rejection(pending)).name, 'AbortError');
  await busy.run(image);
  equal(out[0], 7, 'out of an aborted call');

  // Of ten calls on the same threads the last is not done when its time is up.
  const batch = ones(4, 64, 112, 112);
  const many = await Promise.allSettled(
    Array.from({ length: 10 }, () => busy.run(batch, { signal: AbortSignal.timeout(5) })),
  );
  const last = many.at(-1) as PromiseRejectedResult;
  equal([last.status, last.reason?.name], ['rejected', 'TimeoutError']);

  const late = new AbortController();
  const { data } = await busy.run(image, { signal: late.signal });
  late.abort();
  sameBits(data, expected, 'aborted when done');
});

await check('wrong arguments', async () => {
  const wrong = (value: unknown) => value as never;
  equal(
    thrown(() => new Conv2d(wrong(undefined))),
    'TypeError ERR_INVALID_ARG_TYPE',
  );
  equal(
    thrown(() => new Conv2d(ones(1, 1, 1, 1), { stride: 0 })),
    'RangeError ERR_OUT_OF_RANGE',
  );
  const misspelt = wrong({ stide: 1 });
  equal(
    thrown(() => new Conv2d(ones(1, 1, 1, 1), misspelt)),
    'TypeError ERR_INVALID_ARG_TYPE',
  );
  equal(
    thrown(() => busy.runSync(ones(1, 63, 9, 9))),
    'RangeError ERR_INVALID_ARG_VALUE',
  );
  equal((await rejection(busy.run(wrong(null)))).code, 'ERR_INVALID_ARG_TYPE');
});

await check('dispose', async () => {
  const layer = new Conv2d(ones(1, 1, 1, 1));
  const pending = layer.run(ones(1, 1, 2, 2));
  layer.dispose();
  equal((await pending).data[0], 1);
  equal(
    thrown(() => layer.runSync(ones(1, 1, 2, 2))),
    'Error ERR_INVALID_STATE',
  );
  equal(typeof (layer as unknown as Record<symbol, unknown>)[Symbol.dispose], 'function');
});

await check('limits and stats', async () => {
  // Aborted calls count until the threads have let go of them.
  while (stats().pending > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const before = stats();
  setLimits({ maxPending: 1 });
  const first = busy.run(image);
  equal((await rejection(busy.run(image))).code, 'ERR_GEMMCONV_QUEUE_FULL');
  await first;
  setLimits({ maxPending: Number.POSITIVE_INFINITY });
  const { pending, running, pendingBytes, completed, refused } = stats();
  equal([pending, running, pendingBytes], [0, 0, 0]);
  equal([completed - before.completed, refused - before.refused], [1, 1]);
});

/** Resolves when it is gone. */
function runWorker(how: 'finish' | 'terminate' | 'throw'): Promise<Report | undefined> {
  return new Promise((resolve, reject) => {
    let report: Report | undefined;
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: how });
    worker.on('message', (message: Report) => {
      report = message;
      if (how === 'terminate') worker.terminate();
    });
    worker.on('error', (error: Error) => how !== 'throw' && reject(error));
    worker.on('exit', () => resolve(report));
  });
}

await check('worker threads finish, are terminated, and throw, with calls in flight', async () => {
  const mine = Array.from({ length: 8 }, () => busy.run(image));
  const reports = await Promise.all([
    ...[runWorker('finish'), runWorker('terminate'), runWorker('throw'), runWorker('terminate')],
  ]);
  equal(
    reports[0]?.sum,
    expected.reduce((a, b) => a + b, 0),
    'the worker’s answer',
  );
  for (const report of reports) equal(report?.started, 8);
  for (const { data } of await Promise.all(mine)) sameBits(data, expected, 'ours');
});

await check('after the last worker has gone', async () => {
  for (let i = 0; i < 3; i++) await runWorker('terminate');
  await new Promise((resolve) => setTimeout(resolve, 50));
  sameBits((await busy.run(image)).data, expected, 'run');
});

summarize();
