import { binding, version } from './binding.js';
import { invalidValue } from './errors.js';
import { readInteger } from './options.js';
import type { Info } from './types.js';

const MAX_THREADS = 1024;

/** Counts changes of the settings: a plan made under an earlier number is stale. */
export let generation = 0;

/**
 * Facts about this build and this machine.
 *
 * @returns a fresh object: `version`; `isa` in use and `availableIsas`; `cores` this process may
 *   use (affinity mask and cgroup quota applied); `threads` a call may use; `cacheBytes` of each
 *   level, in bytes.
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
 * @throws TypeError (ERR_INVALID_ARG_TYPE) if it is not a number.
 * @throws RangeError (ERR_OUT_OF_RANGE) if it is not an integer within these bounds.
 */
export function setThreads(threads: number): void {
  binding.setThreads(readInteger(threads, 1, 'threads', MAX_THREADS));
  generation++;
}

/** How many threads one call may compute on. */
export function getThreads(): number {
  return binding.getThreads();
}

/** Chooses the instruction set of later plans. For tests; users set `GEMMCONV_ISA`. */
export function setIsa(isa: string, argument = 'isa'): void {
  if (!binding.setIsa(isa)) {
    const available = binding.info().isas.map((name) => `'${name}'`);
    const expected = `an instruction set this CPU runs (${available.join(', ')})`;
    throw invalidValue(argument, expected, isa);
  }
  generation++;
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
  generation++;
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
