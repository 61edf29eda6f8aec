import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a script (ESM) in a process of its own, where `gemmconv` is the package as built. */
export function inChild(
  script: string,
  environment: NodeJS.ProcessEnv = {},
  directory = root,
): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    ...{ cwd: directory, encoding: 'utf8', timeout: 60_000 },
    env: { ...process.env, NODE_OPTIONS: '', ...environment },
  });
}
