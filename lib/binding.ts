import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Binding } from '../binding.js';
import { type Candidate, candidatesIn } from './candidates.js';
import { type Attempt, loadError, misplacedError } from './load-error.js';

const { packageRoot, require, version } = home();

export { version };

export const binding: Binding = load();

/** The package's own directory: one above this file, both in lib/ and in dist/, but not in a bundle. */
function home() {
  try {
    const require = createRequire(import.meta.url);
    const { name, version } = require('../package.json') as Record<'name' | 'version', string>;
    if (name !== 'gemmconv') throw new Error(`The package around it is ${name}`);
    return { packageRoot: fileURLToPath(new URL('..', import.meta.url)), require, version };
  } catch (cause) {
    throw misplacedError(cause);
  }
}

/**
 * The first addon that loads. A loader from npm would pick one by its name and stop there; we go on,
 * and can tell of each why not.
 */
function load(): Binding {
  const attempts: Attempt[] = [];
  for (const candidate of candidatesIn(packageRoot)) {
    const attempt = candidate.unfit === null ? open(candidate) : skip(candidate, candidate.unfit);
    if ('addon' in attempt) return attempt.addon;
    attempts.push(attempt);
  }
  throw loadError(attempts, packageRoot);
}

function open(candidate: Candidate): { readonly addon: Binding } | Attempt {
  try {
    const addon = require(candidate.file) as Partial<Binding>;
    if (addon.version === version) return { addon: addon as Binding };
    const found = addon.version === undefined ? 'of something else' : `of ${addon.version}`;
    return skip(candidate, `is ${found}, and this is gemmconv ${version}`);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.trim() : String(cause);
    const reason = message.replace(`${candidate.file}: `, '').replace(/\s*\n\s*/g, ' ');
    return { candidate, reason, cause };
  }
}

function skip(candidate: Candidate, reason: string): Attempt {
  return { candidate, reason, cause: null };
}
