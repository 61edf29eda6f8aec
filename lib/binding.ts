import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Binding } from '../binding.js';

/** The package's own directory: one above this file, both in lib/ and in dist/. */
const packageRoot = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

export const binding: Binding = load();

export const version: string = (require('../package.json') as { version: string }).version;

function load(): Binding {
  try {
    const find = require('node-gyp-build') as (directory: string) => unknown;
    const addon = find(packageRoot);
    if (!isBinding(addon)) throw new Error('The addon found is not that of this version.');
    return addon;
  } catch (cause) {
    const error = new Error(explain(cause), { cause });
    throw Object.assign(error, { code: 'ERR_GEMMCONV_BINDING' });
  }
}

/** Catches another package's addon, or one left over from before the boundary changed. */
function isBinding(addon: unknown): addon is Binding {
  const { makePlan, takeFinished } = addon as Partial<Binding>;
  return typeof makePlan === 'function' && typeof takeFinished === 'function';
}

function explain(cause: unknown): string {
  const { platform, arch } = process;
  const reason = cause instanceof Error ? cause.message.trim() : String(cause);
  return [
    `gemmconv could not load its native addon for ${platform}-${arch}${libc()}.`,
    `Looked for: *.node in build/Release, build/Debug and prebuilds/${platform}-${arch}`,
    `       of: ${packageRoot}`,
    `Reason: ${reason}`,
    'To mend it, run `npm rebuild gemmconv` where it is installed (this compiles it if no prebuilt',
    'addon fits, with CMake and a C++ compiler), or `npx cmake-js compile` in its directory.',
  ].join('\n');
}

/** The C library matters on Linux only: an addon built for one does not load on the other. */
function libc(): string {
  if (process.platform !== 'linux') return `, Node ${process.version}`;
  const report = process.report?.getReport() as unknown as
    | { readonly header?: { readonly glibcVersionRuntime?: string } }
    | undefined;
  const glibc = report?.header?.glibcVersionRuntime;
  const name = glibc === undefined ? 'no glibc (musl?)' : `glibc ${glibc}`;
  return `, ${name}, Node ${process.version}`;
}
