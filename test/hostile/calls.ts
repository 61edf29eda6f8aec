// node --expose-gc build/hostile/test/hostile/calls.js FIRST_SEED COUNT
import { writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { stats } from 'gemmconv';
import { HostileCall } from './call.js';

/** So many are under way at a time, in one another's way. */
const AT_ONCE = 4;

const [first = 1, count = 100] = process.argv.slice(2).map(Number);

for (let seed = first; seed < first + count; seed += AT_ONCE) {
  const seeds = Array.from({ length: Math.min(AT_ONCE, first + count - seed) }, (_, i) => seed + i);
  // Written at once: what stands last is what crashed.
  writeSync(2, `seeds ${seeds}\n`);
  await Promise.all(seeds.map(play));
}

// What was aborted while it ran may need a moment to end.
for (let wait = 0; stats().pending > 0 && wait < 200; wait++) await setTimeout(10);
const { pending, running, pendingBytes } = stats();
if (pending + running + pendingBytes > 0) {
  writeSync(1, `left over: ${JSON.stringify(stats())}\n`);
  process.exitCode = 1;
}

async function play(seed: number): Promise<void> {
  const call = new HostileCall(seed);
  try {
    await call.play();
  } catch (error) {
    writeSync(1, `seed ${seed}: ${(error as Error).message}\n  ${call.description}\n`);
    process.exitCode = 1;
  }
}
