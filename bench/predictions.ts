import { type Calibration, predictedMs } from './calibration.js';
import type { Effort } from './clock.js';
import { contest } from './contest.js';
import { nativeDriver } from './drivers/native.js';
import { formatMs } from './format.js';
import type { BenchLayer } from './layers.js';
import { makeWorkload } from './workload.js';

/** What the cost model expected of a layer, and what came. */
export interface Prediction {
  readonly layer: string;
  readonly variant: string;
  readonly predictedMs: number;
  readonly measuredMs: number;
}

export async function predict(
  layer: BenchLayer,
  threads: number,
  effort: Effort,
  calibration: Calibration,
): Promise<Prediction> {
  const driver = nativeDriver(threads);
  const plan = (await driver.prepare(makeWorkload(layer)))?.plan;
  const [result] = await contest(layer, [driver], effort);
  if (plan === undefined || result === undefined) throw new Error('The library declined a layer');
  return {
    layer: layer.name,
    variant: plan.variant,
    predictedMs: predictedMs(plan, calibration),
    measuredMs: result.msMin,
  };
}

export function predictionHeader(): string {
  return line('ms a call', 'variant', ['predicted', 'measured', 'ratio']);
}

export function predictionLine(prediction: Prediction): string {
  const { layer, variant, predictedMs, measuredMs } = prediction;
  const ratio = ratioOf(prediction).toFixed(2);
  return line(layer, variant, [formatMs(predictedMs), formatMs(measuredMs), ratio]);
}

/** How far off: in the middle, and at worst either way. */
export function predictionSummary(predictions: readonly Prediction[]): string[] {
  const sorted = [...predictions].sort((a, b) => ratioOf(a) - ratioOf(b));
  const [low, high] = [sorted[0], sorted[sorted.length - 1]];
  if (low === undefined || high === undefined) return [];
  const off = predictions.map((one) => Math.exp(Math.abs(Math.log(ratioOf(one)))));
  off.sort((a, b) => a - b);
  const within = (factor: number) => off.filter((one) => one <= factor).length;
  const told = (one: Prediction) => `${ratioOf(one).toFixed(2)} (${one.layer}, ${one.variant})`;
  return [
    `predicted over measured: off by a factor of ${(off[off.length >> 1] ?? 1).toFixed(2)} in the middle`,
    `of ${off.length}; within 1.1 on ${within(1.1)}, within 1.25 on ${within(1.25)}, within 2 on ${within(2)};`,
    `least ${told(low)}, most ${told(high)}`,
  ];
}

function ratioOf({ predictedMs, measuredMs }: Prediction): number {
  return predictedMs / measuredMs;
}

function line(layer: string, variant: string, cells: readonly string[]): string {
  return layer.padEnd(30) + variant.padEnd(20) + cells.map((cell) => cell.padStart(11)).join('');
}
