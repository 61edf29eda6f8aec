import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

const ROUND_TRIPS = 2000;
const ROUNDS = 5;
/** Of a round: many times what it takes, unless both threads are on one core. */
const DEADLINE_MS = 50;

/** Answers each 1 by a 0, until it is terminated. */
const ECHO = `
  const { workerData: flag } = require('node:worker_threads');
  for (;;) if (Atomics.load(flag, 0) === 1) Atomics.store(flag, 0, 0);`;

function round(flag: Int32Array): number {
  const begin = performance.now();
  for (let i = 0; i < ROUND_TRIPS; i++) {
    Atomics.store(flag, 0, 1);
    for (let spins = 1; Atomics.load(flag, 0) === 1; spins++) {
      if (spins % 1000 === 0 && performance.now() - begin > DEADLINE_MS) return Infinity;
    }
  }
  return (1e6 * (performance.now() - begin)) / ROUND_TRIPS;
}

/**
 * Nanoseconds for a cache line to go from one core to another and back: some 60 where they have an L3
 * in common, 300 where they have not, which a virtual machine is not told, and which may change while
 * it runs. Of the best round, because both threads need a core to themselves; infinite where they never
 * have one.
 */
export async function exchangeNanoseconds(): Promise<number> {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const echo = new Worker(ECHO, { eval: true, workerData: flag });
  await once(echo, 'online');
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) best = Math.min(best, round(flag));
  await echo.terminate();
  return best;
}
