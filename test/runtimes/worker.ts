// A worker thread of the smoke: starts calls, reports, and ends as it was told.
import { parentPort, workerData } from 'node:worker_threads';
import { Conv2d, type Tensor } from 'gemmconv';

export interface Report {
  readonly started: number;
  /** Of all outputs of a call; 0 where the worker is not to wait for it. */
  readonly sum: number;
}

function ones(...shape: number[]): Tensor {
  return { data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape };
}

const layer = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
const calls = Array.from({ length: 8 }, () => layer.run(ones(1, 64, 112, 112)));
const post = (sum: number) => parentPort?.postMessage({ started: calls.length, sum });

if (workerData === 'finish') {
  const [first] = await Promise.all(calls);
  post(first?.data.reduce((a, b) => a + b, 0) ?? 0);
} else {
  post(0);
}
if (workerData === 'throw') throw new Error('this was planned');
