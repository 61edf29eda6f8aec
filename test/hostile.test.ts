import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PATIENCE } from './patience.js';

// Generated cases, each decided by its seed; a process of its own for what may crash or hang.
//   GEMMCONV_HOSTILE=50 npx vitest run test/hostile    50 times as many (CI: 4 times)
//   GEMMCONV_TEST_SEED=7 …                             others
// One case again, alone: node --expose-gc build/hostile/test/hostile/calls.js SEED 1
const MORE = Number(process.env.GEMMCONV_HOSTILE ?? 1);
const FIRST_SEED = 1 + 1_000_000 * (Number(process.env.GEMMCONV_TEST_SEED ?? 1) - 1);

const CALLS_A_PROCESS = 250;
const CALLERS = Array.from({ length: MORE }, (_, i) => FIRST_SEED + i * CALLS_A_PROCESS);
const LIVES = Array.from({ length: 6 * MORE }, (_, i) => FIRST_SEED + i);

interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, ...numbers: number[]): Promise<Ended> {
  const script = fileURLToPath(
    new URL(`../build/hostile/test/hostile/${program}.js`, import.meta.url),
  );
  const child = spawn(process.execPath, ['--expose-gc', script, ...numbers.map(String)], {
    env: { ...process.env, NODE_OPTIONS: '' },
    timeout: 110_000 * PATIENCE, // a hang
  });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk;
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, ...text }));
  });
}

describe('calls whose memory, signal and layer are taken away, at every moment', () => {
  test.each(CALLERS)(
    `${CALLS_A_PROCESS} from seed %d`,
    { timeout: 120_000 * PATIENCE },
    async (seed) => {
      const { status, signal, stdout, stderr } = await run('calls', seed, CALLS_A_PROCESS);
      expect(stdout).toBe('');
      // The last seeds announced are those that crashed or hang.
      expect({ status, signal }, stderr.slice(-1000)).toEqual({ status: 0, signal: null });
    },
  );
});

describe('worker threads that start, end and die with calls in flight', () => {
  const STATUS: Readonly<Record<string, number>> = { finish: 0, exit: 7, throw: 1 };

  test.concurrent.each(LIVES)('seed %d', { timeout: 120_000 * PATIENCE }, async (seed) => {
    const { status, signal, stdout, stderr } = await run('lifetimes', seed);
    const [end = '', ...rest] = stdout.trim().split('\n');
    expect(rest).toEqual([]);
    expect({ status, signal }, stderr).toEqual({ status: STATUS[end], signal: null });
    expect(stderr).toEqual(end === 'throw' ? expect.stringContaining('planned') : '');
  });
});
