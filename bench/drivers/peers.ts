import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

// In the repository peers have a package.json of their own in bench/, where this code, compiled into
// build/, would not look by itself; who has installed this package may have them beside it.
const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
const PLACES = [join(root, 'bench'), process.cwd()];

/** A peer's module and version; undefined if it is not installed, or does not load here. */
export function loadPeer(name: string): { module: unknown; version: string } | undefined {
  const place = PLACES.find((one) => existsSync(manifestOf(one, name)));
  if (place === undefined) return undefined;
  const manifest = readFileSync(manifestOf(place, name), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  try {
    return { module: createRequire(join(place, 'package.json'))(name), version };
  } catch (error) {
    console.error(`${name} ${version} does not load: ${(error as Error).message}`);
    return undefined;
  }
}

function manifestOf(place: string, name: string): string {
  return join(place, 'node_modules', name, 'package.json');
}
