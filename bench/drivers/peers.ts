import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

// Peers have a package.json of their own in bench/, where this code, compiled into build/, would
// not look by itself.
const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
const peers = createRequire(join(root, 'bench', 'package.json'));

/** A peer's module and version; undefined if it is not installed, or does not load here. */
export function loadPeer(name: string): { module: unknown; version: string } | undefined {
  const directory = join(root, 'bench', 'node_modules', name);
  let manifest: string;
  try {
    manifest = readFileSync(join(directory, 'package.json'), 'utf8');
  } catch {
    return undefined;
  }
  const { version } = JSON.parse(manifest) as { version: string };
  try {
    return { module: peers(name), version };
  } catch (error) {
    console.error(`${name} ${version} does not load: ${(error as Error).message}`);
    return undefined;
  }
}
