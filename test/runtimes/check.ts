// The least of a test runner: it is to run on any runtime, in an empty project.
import process from 'node:process';
import { isDeepStrictEqual } from 'node:util';

let done = 0;
let failed = 0;

/** Runs one check; a failure is told and counted, and the others go on. */
export async function check(name: string, run: () => unknown): Promise<void> {
  try {
    await run();
    done++;
  } catch (error) {
    failed++;
    console.error(`  FAILED ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}

export function equal(actual: unknown, expected: unknown, what = 'value'): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(`${what}: expected ${text(expected)}, got ${text(actual)}`);
}

/** To the last bit; a loop, for deep equality takes seconds on a million numbers. */
export function sameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  equal(actual.length, expected.length, `${what}, length`);
  for (let i = 0; i < actual.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    throw new Error(`${what}: expected ${expected[i]} at ${i}, got ${actual[i]}`);
  }
}

export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => {
      throw new Error('it resolved');
    },
    (reason) => reason,
  );
}

/** Name and code of what a call throws. */
export function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    const { name, code } = error as Error & { code?: string };
    return `${name} ${code}`;
  }
  return 'nothing';
}

export function summarize(): void {
  console.log(`  ${done} checks passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
}

function text(value: unknown): string {
  return value instanceof Error ? String(value.stack) : String(JSON.stringify(value));
}
