import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

// The package exports its users' part alone. By its path a module of it is the very one in use.
const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
const load = (name: string) => import(pathToFileURL(join(root, 'dist', `${name}.js`)).href);
const settings = await load('settings');
const calls = await load('calls');

export const { setIsa, setVariant, variants } = settings as typeof import('../dist/settings.js');
export const { doNothing } = calls as typeof import('../dist/calls.js');

/** The file of the native addon in use; undefined where the runtime does not tell. */
export function addonPath(): string | undefined {
  const { cache } = createRequire(import.meta.url);
  const addons = Object.keys(cache ?? {}).filter((file) => file.endsWith('.node'));
  return addons.find((file) => file.startsWith(root)) ?? addons[0];
}
