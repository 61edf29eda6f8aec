import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { Conv2d } from '../lib/index.js';
import { inChild, isNode } from './child.js';
import { caught, expectThrow, ones } from './wrong.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = join(root, 'build', 'lifecycle');

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const setUp = `
  import { Conv2d, stats } from 'gemmconv';
  const ones = (...shape) => ({
    data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
  });
  const layer = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
  const start = () => Array.from({ length: 8 }, () => layer.run(ones(1, 64, 112, 112)));
`;

/** A script in a file, below the package so that it finds it. */
function scriptFile(name: string, script: string): string {
  mkdirSync(scratch, { recursive: true });
  const path = join(scratch, name);
  writeFileSync(path, script);
  return path;
}

describe('processes', () => {
  test('a cluster whose primary has used the pool', () => {
    const path = scriptFile(
      'cluster.mjs',
      `${setUp}
      import cluster from 'node:cluster';
      import { once } from 'node:events';
      if (cluster.isPrimary) {
        const mine = start();
        for (const how of ['end', 'exit', 'kill', 'end']) {
          const worker = cluster.fork({ HOW: how });
          const exit = once(worker, 'exit');
          const [count] = await once(worker, 'message');
          if (count !== 8) throw new Error('wrong answer');
          if (how === 'kill') worker.kill('SIGKILL');
          await exit;
        }
        console.log((await Promise.all(mine)).length);
      } else {
        const done = await Promise.all(start());
        start();
        process.send(done.length);
        if (process.env.HOW === 'exit') process.exit(3);
        process.disconnect();
      }`,
    );
    const { status, stdout, stderr } = spawnSync(process.execPath, [path], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toBe('8\n');
    expect(status).toBe(0);
  });

  test('calls that end with their worker are counted as aborted', () => {
    const { status, stdout, stderr } = inChild(`${setUp}
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const worker = new Worker(${JSON.stringify(`${setUp}
        import { parentPort } from 'node:worker_threads';
        // Together some hundreds of milliseconds: the worker is gone before they are all done.
        const slow = new Conv2d(ones(64, 64, 3, 3), { padding: 1, algorithm: 'exact' });
        const image = ones(1, 64, 224, 224);
        for (let i = 0; i < 8; i++) slow.run(image);
        parentPort.postMessage('started');
        setInterval(() => {}, 1000);
      `)}, { eval: true });
      await once(worker, 'message');
      await worker.terminate();
      await new Promise((resolve) => setTimeout(resolve, 50));
      const { pending, running, pendingBytes, completed, aborted } = stats();
      console.log(pending, running, pendingBytes, completed + aborted, aborted > 0);
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('0 0 0 8 true\n');
    expect(status).toBe(0);
  });
});

test.runIf(isNode)('a worker that is terminated does not compute to the end', () => {
  // What one call keeps a thread busy for, and what is left of it after the worker was told to end.
  const { status, stdout, stderr } = inChild(`
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    import { setThreads, stats } from 'gemmconv';
    setThreads(1);
    const body = \`
      import { Conv2d } from 'gemmconv';
      import { parentPort } from 'node:worker_threads';
      const ones = (...shape) => ({
        data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
      });
      const layer = new Conv2d(ones(256, 256, 3, 3), { padding: 1, algorithm: 'exact' });
      await layer.run(ones(1, 256, 3, 3));
      parentPort.postMessage('warm');
      await layer.run(ones(1, 256, 140, 140));
      parentPort.postMessage('done');
    \`;
    const begun = async () => {
      const worker = new Worker(body, { eval: true });
      await once(worker, 'message');
      while (stats().running === 0) await new Promise((resolve) => setImmediate(resolve));
      return { worker, before: stats().busyMs };
    };
    const { worker, before } = await begun();
    await once(worker, 'message');
    const whole = stats().busyMs - before;
    let least = Infinity;
    for (let attempt = 0; attempt < 5 && least > whole / 4; attempt++) {
      const { worker, before } = await begun();
      await worker.terminate();
      least = Math.min(least, stats().busyMs - before);
    }
    console.log(least < whole / 4 ? 'soon' : \`\${least} of \${whole} ms\`);
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('soon\n');
  expect(status).toBe(0);
});

describe('memory that is not to be had is a RangeError', () => {
  const outOfMemory = { name: 'RangeError', code: 'ERR_MEMORY_ALLOCATION_FAILED' };

  test('for an output beyond all bounds', async () => {
    const layer = new Conv2d(ones(1, 1, 1, 1), { padding: 2 ** 20 });
    const pixel = ones(1, 1, 1, 1);
    expect(caught(() => layer.runSync(pixel))).toMatchObject(outOfMemory);
    await expect(layer.run(pixel)).rejects.toMatchObject(outOfMemory);
    expect(new Conv2d(ones(1, 1, 1, 1)).runSync(pixel).data[0]).toBe(1);
  });

  test('for a packed filter beyond all bounds', async () => {
    const nothing = { data: new Float32Array(0), shape: [1, 0, 1, 1] };
    const filter = { data: nothing.data, shape: [2 ** 46, 0, 1, 1] };
    const layer = new Conv2d(filter);
    expect(caught(() => layer.runSync(nothing))).toMatchObject(outOfMemory);
    await expect(layer.run(nothing)).rejects.toMatchObject(outOfMemory);
    expect(layer.outputShape(nothing.shape)).toEqual([1, 2 ** 46, 1, 1]);
  });

  const warmUp = `${setUp}
    import { readFileSync } from 'node:fs';
    const big = new Conv2d(ones(1, 1, 1, 1), { stride: 64 });
    await big.run(ones(1, 1, 64, 64));
    const addressKiB = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  `;

  // The address space is bounded such that the input of 2 GiB fits in with 1 to spare, so no copy.
  test.skipIf(process.platform !== 'linux')('for copies and outputs, and the process lives', () => {
    const script = `${warmUp}
      const input = { data: new Float32Array(2 ** 29), shape: [1, 1, 2 ** 14, 2 ** 15] };
      const codes = [];
      const wide = new Conv2d(ones(8, 1, 1, 1));
      for (const call of [() => big.run(input), () => wide.run(input), () => wide.runSync(input)]) {
        codes.push(await (async () => call())().then(() => 'done', ({ name, code }) => name + code));
      }
      codes.push((await big.run(ones(1, 1, 64, 64))).data[0], stats().pending);
      console.log(codes.join());
    `;
    const { stdout: size } = inChild(`${warmUp} console.log(addressKiB);`);
    const path = scriptFile('memory.mjs', script);
    const { stdout, stderr } = spawnSync(
      'bash',
      ['-c', `ulimit -v ${Number(size) + 3 * 2 ** 20}; exec "${process.execPath}" "${path}"`],
      { encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    const error = 'RangeErrorERR_MEMORY_ALLOCATION_FAILED';
    expect(stdout).toBe(`${error},${error},${error},1,0\n`);
  });
});

type SharedMemory = new (options: {
  initial: number;
  maximum: number;
  shared: true;
}) => {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): void;
};

describe('two objects of one shared memory', () => {
  const layer = new Conv2d(ones(1, 1, 1, 1));
  // The compiler is told of no WebAssembly.
  const sharedMemory = () => {
    const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: SharedMemory } })
      .WebAssembly;
    return new Memory({ initial: 1, maximum: 2, shared: true });
  };
  const view = (buffer: SharedArrayBuffer, start: number) => ({
    data: new Float32Array(buffer, 4 * start, 8),
    shape: [1, 1, 1, 8],
  });

  test('overlap all the same', () => {
    const memory = sharedMemory();
    const { buffer } = memory;
    const twin = structuredClone(buffer);
    expect(twin).not.toBe(buffer);
    const [input, out] = [view(buffer, 0), view(twin, 4)];
    expectThrow(() => layer.runSync(input, { out }), 'VALUE', 'options.out');
    expectThrow(() => layer.runSync(ones(1, 1, 1, 8), { add: input, out }), 'VALUE', 'options.out');
    memory.grow(1);
    const grown = view(memory.buffer, 4);
    expectThrow(() => layer.runSync(input, { out: grown }), 'VALUE', 'options.out');
    const apart = view(twin, 8);
    input.data.fill(3);
    expect(layer.runSync(input, { out: apart }).data[7]).toBe(3);
  });
});

test.runIf(isNode)('a worker that ends waits for no call of another thread', () => {
  // Neither with calls that wait for a filter, nor with a filter that waits to be packed.
  const worker = `
    import { parentPort } from 'node:worker_threads';
    import { Conv2d } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    const layer = new Conv2d(ones(1024, 1024, 3, 3), { padding: 1 });
    const x = ones(1, 1024, 7, 7);
    parentPort.once('message', () => {
      for (let i = 0; i < 4; i++) layer.run(x);
      parentPort.postMessage('started');
    });
    parentPort.postMessage('ready');
  `;
  const { stdout, stderr } = inChild(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    import { Conv2d, setThreads } from 'gemmconv';
    const ones = (...shape) => ({
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape,
    });
    setThreads(1);
    const layer = new Conv2d(ones(256, 256, 3, 3), { padding: 1, algorithm: 'exact' });
    await layer.run(ones(1, 256, 28, 28));
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
    await once(worker, 'message');
    let isOver = false;
    const pending = layer.run(ones(32, 256, 28, 28)).then(() => { isOver = true; });
    worker.postMessage('start');
    await once(worker, 'message');
    await worker.terminate();
    console.log(isOver);
    await pending;
  `);
  expect(stderr).toBe('');
  expect(stdout).toBe('false\n');
});
