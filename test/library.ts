import { Conv2d } from '../lib/conv2d.js';
import type { Algorithm, Tensor } from '../lib/types.js';
import { extentsOf, type GoldenProblem } from './golden/extents.js';
import type { Problem } from './problems.js';

/** SSE2, what every x64 has, lacks a fused multiply-add; NEON has one. */
export function hasFma(isa: string): boolean {
  return isa !== 'baseline' || process.arch === 'arm64';
}

/**
 * `depthwise` wants one channel a group, and no huge stride or window; with nhwc one filter (it takes
 * several where there are enough channels and rows are short, which this leaves aside).
 */
export function canCompute(algorithm: Algorithm, problem: GoldenProblem): boolean {
  if (algorithm !== 'depthwise') return true;
  const { CG, OC, KH, KW } = extentsOf(problem);
  const [dilationH, dilationW] = problem.dilation ?? [1, 1];
  const window = ((KH - 1) * dilationH + 1) * ((KW - 1) * dilationW + 1);
  if (Math.max(...(problem.stride ?? [1, 1])) > 4) return false;
  return CG === 1 && (problem.layout !== 'nhwc' || OC === (problem.groups ?? 1)) && window <= 1024;
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
