import { magnitudesOf, outputSum } from '../test/golden/conv2d.js';
import { extentsOf } from '../test/golden/extents.js';
import { Draw } from '../test/random.js';
import type { Output } from './drivers/driver.js';
import { macsOf } from './layers.js';
import { problemOf, sizeOf, type Workload } from './workload.js';

/** One output as it must be, in double. */
interface Sample {
  readonly n: number;
  readonly oc: number;
  readonly oh: number;
  readonly ow: number;
  readonly value: number;
  /** Σ|input · filter| + |bias| */
  readonly magnitude: number;
}

/** Far above what any order of float32 summation gives here, far below any mistake. */
export const TOLERANCE = 1e-5;

/** Below this every output is checked, above it some hundreds, the corners among them. */
const CHECK_ALL_MACS = 1e6;
const SAMPLES = 300;

export function referenceOf(workload: Workload): readonly Sample[] {
  const problem = problemOf(workload);
  const magnitudes = magnitudesOf(problem);
  const extents = extentsOf(problem);
  return placesOf(workload).map(([n, oc, oh, ow]) => {
    const bias = workload.bias[oc] ?? 0;
    const at = [n, oc, oh, ow] as const;
    const value = outputSum(problem, extents, ...at, 'float64') + bias;
    const magnitude = outputSum(magnitudes, extents, ...at, 'float64') + Math.abs(bias);
    return { n, oc, oh, ow, value, magnitude };
  });
}

/** The largest error among the samples, relative to each one's magnitude. */
export function errorOf(output: Output, reference: readonly Sample[]): number {
  let largest = 0;
  for (const { n, oc, oh, ow, value, magnitude } of reference) {
    const error = Math.abs(output.at(n, oc, oh, ow) - value) / magnitude;
    // Written so that NaN counts.
    if (!(error <= largest)) largest = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
  }
  return largest;
}

/**
 * The most that Winograd may err by its documented bound, 50 · 2^-24 · Σ|w| · max|x| (26 under 5×5
 * filters), in the terms of `errorOf`; with the largest input of all in place of the largest of each tile.
 */
export function winogradBoundOf(workload: Workload, reference: readonly Sample[]): number {
  const { input, filter } = workload;
  const taps = filter.data.length / filter.shape[0];
  const largest = input.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const bounds = reference.map(({ oc, magnitude }) => {
    const weights = filter.data.subarray(oc * taps, (oc + 1) * taps);
    return (weights.reduce((sum, w) => sum + Math.abs(w), 0) * largest) / magnitude;
  });
  const factor = filter.shape[2] === 5 ? 26 : 50;
  return factor * 2 ** -24 * Math.max(...bounds);
}

type Place = readonly [n: number, oc: number, oh: number, ow: number];

/** Where to look. */
export function placesOf({ layer, outputShape }: Workload): Place[] {
  const [batch, OC, OH, OW] = outputShape;
  const places: Place[] = [];
  if (macsOf(layer) <= CHECK_ALL_MACS) {
    for (let i = 0; i < sizeOf(outputShape); i++) {
      const row = Math.floor(i / OW);
      const plane = Math.floor(row / OH);
      places.push([Math.floor(plane / OC), plane % OC, row % OH, i % OW]);
    }
    return places;
  }
  for (const oh of [0, OH - 1])
    for (const ow of [0, OW - 1]) places.push([batch - 1, OC - 1, oh, ow]);
  const draw = new Draw(2);
  const index = (size: number) => draw.integer(0, size - 1);
  while (places.length < SAMPLES) places.push([index(batch), index(OC), index(OH), index(OW)]);
  return places;
}
