import { type Conv2dPlan, getThreads, setThreads } from 'gemmconv';
import { measure } from './clock.js';
import { nativeDriver } from './drivers/native.js';
import { parseNotation } from './notation.js';
import { makeWorkload } from './workload.js';

/** What turns the cycles of the plan's cost model into time on this machine, now. */
export interface Calibration {
  /** Cycles of the model a millisecond: its clock, if the machine is of the kind it was fitted on. */
  readonly cyclesPerMs: number;
  /** What a call of `runSync` takes that computes next to nothing. */
  readonly callMs: number;
}

/** Multiply-adds from cache and nothing else, on every ISA: the model is surest of it. */
const STEADY = parseNotation('512x14x14 -> 256 exact').layer;
const EMPTY = parseNotation('1x1x1 -> 1').layer;

const EFFORT = { budgetMs: 60, minSamples: 5, maxSamples: 40 };

/** Takes a seventh of a second. */
export async function calibrate(): Promise<Calibration> {
  const threads = getThreads();
  try {
    const drivers = [nativeDriver(1, { algorithm: 'exact' }), nativeDriver(1)];
    const layers = [STEADY, EMPTY];
    const contestants = await Promise.all(
      layers.map((layer, i) => drivers[i]?.prepare(makeWorkload(layer))),
    );
    const [steady, empty] = contestants;
    if (steady?.plan === undefined || empty === undefined) throw new Error('Nothing to time');
    const [steadyMs = [], emptyMs = []] = await measure([steady, empty], EFFORT);
    const callMs = Math.min(...emptyMs);
    return { callMs, cyclesPerMs: steady.plan.estimatedCycles / (Math.min(...steadyMs) - callMs) };
  } finally {
    setThreads(threads);
  }
}

/** Milliseconds of one call of `runSync`, its tensors in cache as far as they fit. */
export function predictedMs(plan: Conv2dPlan, { cyclesPerMs, callMs }: Calibration): number {
  return callMs + plan.estimatedCycles / cyclesPerMs;
}
