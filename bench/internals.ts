import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

// The package exports its users' part alone. By its path a module of it is the very one in use.
const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
const settings = await import(pathToFileURL(join(root, 'dist', 'settings.js')).href);

export const { setIsa, setVariant, variants } = settings as typeof import('../lib/settings.js');
