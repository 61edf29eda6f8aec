import { Conv2d } from '../lib/conv2d.js';
import type { Algorithm, Tensor } from '../lib/types.js';
import type { GoldenProblem } from './golden/extents.js';
import type { Problem } from './problems.js';

/** SSE2, what every x64 has, lacks a fused multiply-add; NEON has one. */
export function hasFma(isa: string): boolean {
  return isa !== 'baseline' || process.arch === 'arm64';
}

/** The library's layer for a problem of the golden reference. */
export function layerOf(problem: GoldenProblem | Problem, algorithm: Algorithm): Conv2d {
  const { filter, bias, stride, dilation, groups, activation, layout, filterLayout } = problem;
  const padding = 'asked' in problem ? problem.asked : problem.padding;
  const options = { stride, padding, dilation, groups, activation, layout, filterLayout };
  return new Conv2d(filter, { ...options, bias, algorithm });
}

/** One image of a batch. */
export function imageOf({ data, shape }: Tensor, n: number): Tensor {
  const size = data.length / (shape[0] as number);
  return { data: data.subarray(n * size, (n + 1) * size), shape: [1, ...shape.slice(1)] };
}
