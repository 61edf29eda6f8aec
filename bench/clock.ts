import { setTimeout as sleep } from 'node:timers/promises';
import type { Prepared } from './drivers/driver.js';

export interface Effort {
  /** How long to measure one driver on one layer. */
  readonly budgetMs: number;
  readonly minSamples: number;
  readonly maxSamples: number;
}

/** Shorter than this, and the clock and the loop around the calls would show. */
const MIN_SAMPLE_MS = 1;
/** A call longer than this warms itself up. */
const LONG_CALL_MS = 10;
/**
 * Before each sample. A core that has slept takes its time to be back, the more so when it is a virtual
 * one: after a quarter of a millisecond most layers took as long on two threads as on one, after this
 * half as long (Linux 6.18 on two virtual cores).
 */
const WARM_UP_MS = 4;
/** Thread pools spin for a while after a call; this lets the last competitor's fall asleep. */
const SETTLE_MS = 3;

/**
 * Milliseconds per call of each competitor, every sample. They take turns, so that whatever else
 * the machine does meanwhile falls on all of them.
 */
export async function measure(
  competitors: readonly Prepared[],
  effort: Effort,
): Promise<number[][]> {
  const contests: Contest[] = [];
  for (const prepared of competitors) contests.push(await calibrate(prepared, effort));
  const rounds = Math.max(...contests.map(({ samples }) => samples));
  for (let round = 0; round < rounds; round++) {
    for (const { prepared, calls, warmUp, samples, ms } of contests) {
      if (round < samples) ms.push(await sample(prepared, calls, warmUp));
    }
  }
  return contests.map(({ ms }) => ms);
}

interface Contest {
  readonly prepared: Prepared;
  /** Calls to a sample. */
  readonly calls: number;
  /** Calls before each sample that bring clock rate, caches and threads back to this competitor. */
  readonly warmUp: number;
  readonly samples: number;
  readonly ms: number[];
}

/** Runs until it is warm, then decides how much of it the budget allows. */
async function calibrate(prepared: Prepared, effort: Effort): Promise<Contest> {
  let perCall = Number.POSITIVE_INFINITY;
  // Doubling, so that a compiler that optimises after some calls has had its calls.
  for (let calls = 1; ; calls *= 2) {
    const ms = await sample(prepared, calls, 0);
    perCall = Math.min(perCall, ms);
    if (ms * calls >= MIN_SAMPLE_MS * 4) break;
  }
  const calls = Math.ceil(MIN_SAMPLE_MS / perCall);
  const warmUp = perCall > LONG_CALL_MS ? 0 : Math.ceil(WARM_UP_MS / perCall);
  const affordable = Math.floor(effort.budgetMs / ((calls + warmUp) * perCall + SETTLE_MS));
  const samples = Math.max(effort.minSamples, Math.min(effort.maxSamples, affordable));
  return { prepared, calls, warmUp, samples, ms: [] };
}

/** Milliseconds per call. */
async function sample(prepared: Prepared, calls: number, warmUp: number): Promise<number> {
  prepared.enter?.();
  await sleep(SETTLE_MS);
  await repeat(prepared, warmUp);
  const begin = performance.now();
  await repeat(prepared, calls);
  return (performance.now() - begin) / calls;
}

async function repeat(prepared: Prepared, calls: number): Promise<void> {
  for (let call = 0; call < calls; call++) {
    const pending = prepared.run();
    // A promise only where there is one: awaiting nothing costs as much as a small layer.
    if (pending !== undefined) await pending;
  }
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length - 1 - middle], sorted[middle]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}
