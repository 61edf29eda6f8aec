// How a process ends that has calls in flight: end.js wait | exit | throw
import process from 'node:process';
import { Conv2d, type Tensor } from 'gemmconv';

function ones(...shape: number[]): Tensor {
  return { data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape };
}

const layer = new Conv2d(ones(64, 64, 3, 3), { padding: 1 });
const calls = Array.from({ length: 8 }, () => layer.run(ones(1, 64, 112, 112)));
Promise.all(calls).then((all) => console.log(`${all.length} calls done`));
const how = process.argv[2];
if (how === 'exit') process.exit(7);
if (how === 'throw') throw new Error('this was planned');
