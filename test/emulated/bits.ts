// Every variant of an instruction set against the golden reference, on a CPU that is emulated, and so some
// hundred times slower than the real one: which computes the reference, as a hash of each output.
//   node bits.js golden [MULTIPLE] >hashes     draws the problems, MULTIPLE times as many as usual
//   node bits.js avx512 [MULTIPLE] <hashes     draws the same, and computes them there
import { readFileSync } from 'node:fs';
import { canPlan } from '../../bench/plannable.js';
import { info, setIsa, setThreads, setVariant, variants } from '../../lib/settings.js';
import { goldenConv2d } from '../golden/conv2d.js';
import { layerOf } from '../library.js';
import { describeProblem, type Kind, type Problem, randomProblem } from '../problems.js';

const FIRST_SEED = Number(process.env.GEMMCONV_TEST_SEED ?? 1);
/** Kinds of test/exact.test.ts, but for the large ones. */
const SWEEP: readonly (readonly [Kind, number])[] = [
  ['general', 16],
  ['grouped', 8],
  ['deep', 8],
  ['wide', 8],
  ['padded', 8],
  ['narrow', 8],
  ['planes', 4],
  ['pairs', 8],
  ['images', 16],
];

const [isa = 'golden', multiple = '1'] = process.argv.slice(2);
const problems = SWEEP.flatMap(([kind, count], k) =>
  Array.from({ length: count * Number(multiple) }, (_, i) =>
    poisoned(randomProblem(FIRST_SEED * 1e6 + k * 1e4 + i, kind), i),
  ),
);

if (isa === 'golden') {
  for (const problem of problems) console.log(hash(goldenConv2d(problem, 'fma32').data));
} else {
  compare(readFileSync(0, 'utf8').split('\n'));
}

function compare(hashes: readonly string[]): void {
  setIsa(isa);
  const counts = new Map<string, number>();
  for (const [i, problem] of problems.entries()) {
    setThreads(1 + (i % 2));
    for (const variant of [null, ...variants()]) {
      setVariant(variant);
      const layer = layerOf(problem, 'exact');
      if (!canPlan(layer, problem.input.shape)) continue;
      const { data } = layer.runSync(problem.input, { add: problem.add });
      counts.set(variant ?? 'planned', (counts.get(variant ?? 'planned') ?? 0) + 1);
      if (hash(data) === hashes[i]) continue;
      console.log(`FAIL ${isa} ${variant}: ${describeProblem(problem)}`);
      process.exitCode = 1;
    }
  }
  const calls = [...counts].map(([variant, count]) => `${variant} ${count}`).join(', ');
  console.log(`${info().isa}, calls: ${calls}`);
}

/** Inf and NaN in the input of every fourth problem, in the filter of every other fourth. */
function poisoned(problem: Problem, i: number): Problem {
  const { data } = [problem.input, problem.filter][i % 4] ?? { data: new Float32Array(0) };
  for (let at = i; at < data.length; at += 997) data[at] = at % 2 ? Infinity : NaN;
  return problem;
}

/** FNV-1a of the bits, NaN being the same as NaN. */
function hash(data: Float32Array): string {
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  let state = 0x811c9dc5;
  for (let i = 0; i < bits.length; i++) {
    const word = Number.isNaN(data[i]) ? 0x7fc00000 : (bits[i] as number);
    state = Math.imul(state ^ word, 0x01000193);
    state ^= state >>> 15;
  }
  return (state >>> 0).toString(16);
}
