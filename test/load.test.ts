import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inChild } from './child.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const addon = readFileSync(join(root, 'build', 'Release', 'gemmconv.node'));
const { platform, arch } = process;
const target = `${platform}-${arch}`;
const isGlibc = addon.includes('GLIBC_2.');

const COMPILED = 'build/Release/gemmconv.node';
const PREBUILT = `prebuilds/${target}/gemmconv.${isGlibc ? 'glibc' : 'musl'}.node`;
const OTHER_LIBC = `prebuilds/${target}/gemmconv.${isGlibc ? 'musl' : 'glibc'}.node`;

/** Of the library; the command needs no copy. */
const modules = readdirSync(join(root, 'dist')).filter((name) => name.endsWith('.js'));

/** A copy of the package without its addon. */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gemmconv-load-'));
  for (const name of modules) cpSync(join(root, 'dist', name), join(directory, 'dist', name));
  cpSync(join(root, 'package.json'), join(directory, 'package.json'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function put(file: string, content: Uint8Array | string): void {
  mkdirSync(dirname(join(directory, file)), { recursive: true });
  writeFileSync(join(directory, file), content);
}

/** The addon with some of its bytes changed, everywhere; as many as before. */
function doctored(from: string, to: string): Buffer {
  expect(addon.includes(from), from).toBe(true);
  expect(to).toHaveLength(from.length);
  return Buffer.from(addon.toString('latin1').replaceAll(from, to), 'latin1');
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly cause?: { readonly message: string; readonly code: string };
}

interface Circumstances {
  /** Runs before the package is imported. */
  readonly before?: string;
  readonly environment?: NodeJS.ProcessEnv;
}

function load({ before = '', environment = {} }: Circumstances): Failure | 'loaded' {
  const script = `
    ${before}
    const error = await import('./dist/index.js').then(() => undefined, (reason) => reason);
    const { code, message, cause } = error ?? {};
    console.log(JSON.stringify(
      error === undefined ? 'loaded' : { code, message, cause: cause && { message: cause.message, code: cause.code } },
    ));
  `;
  const child = inChild(script, { GEMMCONV_ADDON: '', ...environment }, directory);
  expect(child.stderr).toBe('');
  expect(child.signal, 'the process was killed').toBe(null);
  return JSON.parse(child.stdout);
}

const COMPILE = 'compile.mjs"';
const REINSTALL = '" && npm install';

/** The message names each file that was tried, what is wrong with it, and one command. */
function expectFailure(
  reasons: Readonly<Record<string, string | RegExp>>,
  remedy: string,
  circumstances: Circumstances = {},
): Failure {
  const failure = load(circumstances);
  if (failure === 'loaded') throw new Error('it loaded');
  const { code, message } = failure;
  expect(code).toBe('ERR_GEMMCONV_BINDING');
  const lines = message.split('\n');
  expect(lines[0]).toMatch(/^gemmconv could not load its native addon for \w+-\w+, .*Node v\d+/);
  expect(lines[1]).toBe('Tried:');
  const tried = lines.filter((line) => /^ {2}(?! )/.test(line)).map((line) => line.slice(2));
  expect(tried.slice(0, -1)).toEqual(Object.keys(reasons).map((file) => join(directory, file)));
  for (const [file, reason] of Object.entries(reasons)) {
    const told = lines[lines.indexOf(`  ${join(directory, file)}`) + 1];
    expect(told?.slice(0, 4)).toBe('    ');
    expect(told).toMatch(reason);
  }
  expect(message).toContain('To mend it');
  expect(tried.at(-1)).toContain(remedy);
  return failure;
}

const notThere = { [COMPILED]: 'is not there' };

describe('an addon loads', () => {
  test('from build/Release', () => {
    put(COMPILED, addon);
    expect(load({})).toBe('loaded');
  });

  test('from the prebuilds', () => {
    put(PREBUILT, addon);
    expect(load({})).toBe('loaded');
  });

  test('from the prebuilds, without a tag, as on systems with one C library', () => {
    put(`prebuilds/${target}/gemmconv.node`, addon);
    expect(load({})).toBe('loaded');
  });

  test('from the prebuilds where the one compiled here does not', () => {
    put(COMPILED, 'no addon');
    put(PREBUILT, addon);
    expect(load({})).toBe('loaded');
  });

  test('from where GEMMCONV_ADDON says', () => {
    put('elsewhere.node', addon);
    expect(load({ environment: { GEMMCONV_ADDON: join(directory, 'elsewhere.node') } })).toBe(
      'loaded',
    );
  });
});

describe('an addon does not load, and the error says why', () => {
  test('nothing there', () => {
    const reasons = { ...notThere, [`prebuilds/${target}/*.node`]: 'nor any other' };
    expect(expectFailure(reasons, COMPILE).cause).toBeUndefined();
  });

  test('prebuilt for other systems only', () => {
    put('prebuilds/darwin-arm64/gemmconv.node', addon);
    put('prebuilds/win32-x64/gemmconv.node', addon);
    const reason = 'is not there, only darwin-arm64, win32-x64';
    expectFailure({ ...notThere, [`prebuilds/${target}/*.node`]: reason }, COMPILE);
  });

  test('seen from another system', () => {
    put(PREBUILT, addon);
    const before = `Object.defineProperty(process, 'platform', { value: 'freebsd' });`;
    const reasons = { ...notThere, [`prebuilds/freebsd-${arch}/*.node`]: `only ${target}` };
    const { message } = expectFailure(reasons, COMPILE, { before });
    expect(message).toContain(`freebsd-${arch}`);
  });

  test('GEMMCONV_ADDON names nothing', () => {
    put(COMPILED, addon);
    const environment = { GEMMCONV_ADDON: join(directory, 'x.node') };
    const { message } = expectFailure({ 'x.node': 'not there' }, 'unset', { environment });
    expect(message).toContain('GEMMCONV_ADDON');
  });

  test('addons are forbidden', () => {
    put(COMPILED, addon);
    put(PREBUILT, addon);
    const before = `process.dlopen = () => {
      throw Object.assign(new Error('Cannot load,\\n  not addons'), { code: 'ERR_DLOPEN_DISABLED' });
    };`;
    const reason = 'Cannot load, not addons';
    const { cause } = expectFailure({ [COMPILED]: reason, [PREBUILT]: reason }, '--allow-addons', {
      before,
    });
    expect(cause?.code).toBe('ERR_DLOPEN_DISABLED');
  });

  test.each([
    ['', ''],
    ['beside another package.json', '{ "name": "app", "version": "1.0.0" }'],
    ['as CommonJS', '', 'import.meta.url', 'undefined'],
  ])('in a bundle %s', (_, manifest, from = '', to = '') => {
    rmSync(join(directory, 'package.json'));
    if (manifest !== '') put('package.json', manifest);
    const bundled = readFileSync(join(directory, 'dist', 'binding.js'), 'utf8');
    put('dist/package.json', '{ "type": "module" }');
    put('dist/binding.js', bundled.replaceAll(from, to));
    const { code, message } = load({}) as Failure;
    expect(code).toBe('ERR_GEMMCONV_BINDING');
    expect(message).toMatch(/^gemmconv could not load .*\n.* a bundler .*\n.*--external:gemmconv/);
  });

  test('another version’s', () => {
    const manifest = readFileSync(join(root, 'package.json'), 'utf8');
    put('package.json', manifest.replace(/"version": ".*"/, '"version": "99.0.0"'));
    put(COMPILED, addon);
    const { version } = JSON.parse(manifest);
    const reason = `is of ${version}, and this is gemmconv 99.0.0`;
    const nothingElse = { [`prebuilds/${target}/*.node`]: 'is not there' };
    expectFailure({ [COMPILED]: reason, ...nothingElse }, COMPILE);
    rmSync(join(directory, COMPILED));
    put(PREBUILT, addon);
    expectFailure({ ...notThere, [PREBUILT]: reason }, REINSTALL);
  });

  const another = 'node_modules/lightningcss-linux-x64-gnu/lightningcss.linux-x64-gnu.node';
  test.skipIf(!existsSync(join(root, another)))('another package’s', () => {
    put(PREBUILT, readFileSync(join(root, another)));
    expectFailure({ ...notThere, [PREBUILT]: 'is of something else' }, REINSTALL);
  });
});

describe.skipIf(platform !== 'linux')('an addon does not load, on Linux', () => {
  test.each([
    ['empty', Buffer.alloc(0), 'is empty'],
    ['zeros', Buffer.alloc(addon.length), `is no Linux library (${addon.length} bytes)`],
    ['text', 'version https://git-lfs.github.com/spec/v1', 'is no Linux library'],
  ])('%s', (_, content, reason) => {
    put(PREBUILT, content);
    expectFailure({ ...notThere, [PREBUILT]: reason }, REINSTALL);
    put(COMPILED, content);
    expectFailure({ [COMPILED]: reason, [PREBUILT]: reason }, REINSTALL);
  });

  // All but the shortest of these kill a process that hands them to dlopen.
  test.each([1, 10, 63, 64, 65, 1000, 4096, 100_000, addon.length >> 1, addon.length - 1])(
    'cut short to %d bytes',
    (length) => {
      put(PREBUILT, addon.subarray(0, length));
      const reason = length < 4 ? 'is no Linux library' : `is cut short: ${length} of at least `;
      expectFailure({ ...notThere, [PREBUILT]: reason }, REINSTALL);
    },
  );

  test('for another machine', () => {
    const other = Buffer.from(addon);
    const [machine, name] = arch === 'x64' ? [183, 'arm64'] : [62, 'x64'];
    other.writeUInt16LE(machine, 18);
    put(PREBUILT, other);
    const reason = `is for ${name}, and this process is ${arch}`;
    expectFailure({ ...notThere, [PREBUILT]: reason }, REINSTALL);
    rmSync(join(directory, PREBUILT));
    put(COMPILED, other);
    const nothingElse = { [`prebuilds/${target}/*.node`]: 'is not there' };
    expectFailure({ [COMPILED]: reason, ...nothingElse }, COMPILE);
  });

  test('for the other C library, by its name', () => {
    put(OTHER_LIBC, addon);
    const reason = `is for ${isGlibc ? 'musl' : 'glibc'}`;
    expectFailure({ ...notThere, [OTHER_LIBC]: reason }, COMPILE);
  });

  test('in a process of the other C library', () => {
    put(PREBUILT, addon);
    put('node', programOf(isGlibc ? '/lib/ld-musl-x86_64.so.1' : '/lib64/ld-linux-x86-64.so.2'));
    const before = `process.execPath = ${JSON.stringify(join(directory, 'node'))};`;
    const reason = `is for ${isGlibc ? 'glibc' : 'musl'}`;
    expectFailure({ ...notThere, [PREBUILT]: reason }, COMPILE, { before });
  });

  test.skipIf(!isGlibc)('for the other C library, in disguise', () => {
    put(PREBUILT, doctored('libc.so.6\0', 'musl.so.6\0'));
    const failure = expectFailure({ ...notThere, [PREBUILT]: 'musl.so.6: cannot open' }, REINSTALL);
    expect(failure.cause?.code).toBe('ERR_DLOPEN_FAILED');
  });

  test.skipIf(!isGlibc)('for a newer glibc', () => {
    const [needed = ''] = /GLIBC_2\.\d\d/.exec(addon.toString('latin1')) ?? [];
    put(PREBUILT, doctored(`\0${needed}\0`, '\0GLIBC_9.99\0'));
    const failure = expectFailure({ ...notThere, [PREBUILT]: "`GLIBC_9.99' not found" }, COMPILE);
    expect(failure.message).toMatch(/, glibc \d+\.\d+, /);
    expect(failure.cause?.message).toContain('GLIBC_9.99');
  });
});

/** As much of a program as tells its loader. */
function programOf(interpreter: string): Buffer {
  const path = Buffer.from(`${interpreter}\0`, 'latin1');
  const bytes = Buffer.alloc(64 + 2 * 56 + path.length);
  bytes.write('\x7fELF', 'latin1');
  bytes.writeBigUInt64LE(64n, 32); // program headers,
  bytes.writeUInt16LE(2, 56); // two of them
  bytes.writeUInt32LE(6, 64); // PT_PHDR
  bytes.writeUInt32LE(3, 64 + 56); // PT_INTERP
  bytes.writeBigUInt64LE(BigInt(64 + 2 * 56), 64 + 56 + 8);
  bytes.writeBigUInt64LE(BigInt(path.length), 64 + 56 + 32);
  path.copy(bytes, 64 + 2 * 56);
  return bytes;
}

// Microkernels come in hundreds of shapes, and the standard library is linked in: both grow unseen.
test.skipIf(spawnSync('strip', ['--version']).error !== undefined)(
  'stripped, as it is published, the addon is well under 2 MB',
  () => {
    const stripped = join(directory, 'stripped.node');
    const { status, stderr } = spawnSync('strip', ['-o', stripped, join(root, COMPILED)]);
    expect(status, String(stderr)).toBe(0);
    expect(statSync(stripped).size).toBeLessThan(1.75 * 2 ** 20);
  },
);
