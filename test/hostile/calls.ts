// node --expose-gc build/hostile/test/hostile/calls.js FIRST_SEED COUNT
import { writeSync } from 'node:fs';
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

async function play(seed: number): Promise<void> {
  const call = new HostileCall(seed);
  try {
    await call.play();
  } catch (error) {
    writeSync(1, `seed ${seed}: ${(error as Error).message}\n  ${call.description}\n`);
    process.exitCode = 1;
  }
}
