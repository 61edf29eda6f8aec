import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PATIENCE } from './patience.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Not Bun or Deno, whose children print errors in their own way and take no module as a worker's code. */
export const isNode = !('Bun' in globalThis || 'Deno' in globalThis);

/** What makes the runtime that runs the tests take a module from its standard input. */
function fromInput(): string[] {
  if ('Deno' in globalThis) return ['run', '--allow-all', '-'];
  return 'Bun' in globalThis ? ['run', '-'] : ['--input-type=module', '-'];
}

/** Runs a script (ESM) in a process of its own, where `gemmconv` is the package as built. */
export function inChild(
  script: string,
  environment: NodeJS.ProcessEnv = {},
  directory = root,
): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, fromInput(), {
    ...{ cwd: directory, encoding: 'utf8', timeout: 60_000 * PATIENCE, input: script },
    env: { ...process.env, NODE_OPTIONS: '', ...environment },
  });
}
