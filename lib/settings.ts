import { binding, version } from './binding.js';
import { invalidValue } from './errors.js';
import { asOptions, readInteger } from './options.js';
import type { Info, Limits, Stats } from './types.js';

const MAX_THREADS = 1024;

/**
 * Facts about this build and this machine.
 *
 * @returns a fresh object.
 */
export function info(): Info {
  const { isa, isas, cores, cacheBytes } = binding.info();
  const threads = binding.getThreads();
  return { version, isa, availableIsas: isas, cores, threads, cacheBytes };
}

/**
 * Sets how many threads one call may compute on, for all layers of the process, from the next
 * call on. The result has the same bits whatever the number.
 *
 * @param threads 1 to 1024. The default is the number of cores this process may use, or
 *   `GEMMCONV_THREADS`.
 * @throws
 * - a TypeError (ERR_INVALID_ARG_TYPE) if it is not a number
 * - a RangeError (ERR_OUT_OF_RANGE) if it is not an integer within these bounds
 */
export function setThreads(threads: number): void {
  binding.setThreads(readInteger(threads, 1, 'threads', MAX_THREADS));
}

/** How many threads one call may compute on, as {@link setThreads} set it. */
export function getThreads(): number {
  return binding.getThreads();
}

/**
 * Bounds the calls of {@link Conv2d.run} that may be pending, in the whole process: each holds its input
 * and an output. One more is refused: its promise rejects with an Error, code
 * `ERR_GEMMCONV_QUEUE_FULL`.
 *
 * @param limits `maxPending` calls, `maxPendingBytes` of memory; Infinity for no bound. What is left
 *   out stays as it is; the default is any number of calls, and half of the memory.
 * @throws
 * - a TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown name
 * - a RangeError (ERR_OUT_OF_RANGE) for what is neither Infinity nor an integer of at least 1
 */
export function setLimits(limits: Limits): void {
  const present = binding.stats();
  const { maxPending = present.maxPending, maxPendingBytes = present.maxPendingBytes } = asOptions(
    limits,
    LIMIT_NAMES,
    'limits',
  );
  binding.setLimits(
    readLimit(maxPending, 'limits.maxPending'),
    readLimit(maxPendingBytes, 'limits.maxPendingBytes'),
  );
}

const LIMIT_NAMES = ['maxPending', 'maxPendingBytes'] as const satisfies readonly (keyof Limits)[];

function readLimit(value: unknown, argument: string): number {
  return value === Number.POSITIVE_INFINITY ? value : readInteger(value, 1, argument);
}

/** What the library is doing, and has done, for all threads of the process. Costs a microsecond. */
export function stats(): Stats {
  return binding.stats();
}

/** Chooses the instruction set of later plans. For tests; users set `GEMMCONV_ISA`. */
export function setIsa(isa: string, argument = 'isa'): void {
  if (!binding.setIsa(isa)) {
    const available = binding.info().isas.map((name) => `'${name}'`);
    const expected = `an instruction set this CPU runs (${available.join(', ')})`;
    throw invalidValue(argument, expected, isa);
  }
}

/** Everything a plan chooses between, by name. */
export function variants(): readonly string[] {
  return binding.info().variants;
}

/** Restricts later plans to one of `variants()`, null lifts that. For the bench and tests. */
export function setVariant(variant: string | null): void {
  if (!binding.setVariant(variant ?? '')) {
    throw invalidValue('variant', `one of ${variants().join(', ')}`, variant);
  }
}

/** An empty variable counts as unset, as a shell's `GEMMCONV_ISA= node …` means it. */
function applyEnvironment({ GEMMCONV_ISA, GEMMCONV_THREADS }: NodeJS.ProcessEnv): void {
  if (GEMMCONV_ISA) setIsa(GEMMCONV_ISA, 'environment variable GEMMCONV_ISA');
  if (GEMMCONV_THREADS) {
    const threads = /^\d+$/.test(GEMMCONV_THREADS) ? Number(GEMMCONV_THREADS) : 0;
    if (threads < 1 || threads > MAX_THREADS) {
      const expected = `an integer from 1 to ${MAX_THREADS}`;
      throw invalidValue('environment variable GEMMCONV_THREADS', expected, GEMMCONV_THREADS);
    }
    setThreads(threads);
  }
}

applyEnvironment(process.env);
