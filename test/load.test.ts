import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inChild } from './child.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = join(root, 'build', 'Release');
const addon = readdirSync(built).find((name) => name.endsWith('.node')) ?? 'gemmconv.node';

/** A copy of the package without its addon. */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gemmconv-load-'));
  cpSync(join(root, 'dist'), join(directory, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(directory, 'package.json'));
  installLoader();
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function installLoader(): void {
  const modules = join(directory, 'node_modules');
  mkdirSync(modules);
  symlinkSync(join(root, 'node_modules', 'node-gyp-build'), join(modules, 'node-gyp-build'), 'dir');
}

function put(folder: string, content: Uint8Array | string): void {
  mkdirSync(join(directory, folder), { recursive: true });
  writeFileSync(join(directory, folder, addon), content);
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly cause: string;
}

function load(): Failure | 'loaded' {
  const script = `
    const error = await import('./dist/index.js').then(() => undefined, (reason) => reason);
    console.log(JSON.stringify(
      error && { code: error.code, message: error.message, cause: error.cause?.message },
    ) ?? '"loaded"');
  `;
  const { stdout, stderr } = inChild(script, { PREBUILDS_ONLY: '' }, directory);
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

function loadFailure(): Failure {
  const failure = load();
  if (failure === 'loaded') throw new Error('it loaded');
  expect(failure.code).toBe('ERR_GEMMCONV_BINDING');
  expect(failure.message).toContain(`${process.platform}-${process.arch}`);
  expect(failure.message).toContain(process.version);
  expect(failure.message).toContain(join(directory, 'x').slice(0, -1));
  expect(failure.message).toContain('npm rebuild gemmconv');
  expect(failure.message).toContain('npx cmake-js compile');
  expect(failure.message).toContain(`Reason: ${failure.cause?.split('\n')[0]}`);
  return failure;
}

describe('the addon', () => {
  test('in build/Release loads', () => {
    put('build/Release', readFileSync(join(built, addon)));
    expect(load()).toBe('loaded');
  });

  test('among the prebuilds loads', () => {
    const folder = join('prebuilds', `${process.platform}-${process.arch}`);
    put(folder, readFileSync(join(built, addon)));
    expect(load()).toBe('loaded');
  });

  test('missing', () => {
    expect(loadFailure().message).toContain('No native build was found');
  });

  test('empty', () => {
    put('build/Release', '');
    loadFailure();
  });

  test('cut short', () => {
    put('build/Release', readFileSync(join(built, addon)).subarray(0, 50));
    loadFailure();
  });

  test('no addon at all', () => {
    put('build/Release', 'not an addon'.repeat(1000));
    loadFailure();
  });

  test('another package’s', () => {
    rmSync(join(directory, 'node_modules'), { recursive: true });
    mkdirSync(join(directory, 'node_modules', 'node-gyp-build'), { recursive: true });
    const loader = join(directory, 'node_modules', 'node-gyp-build', 'index.js');
    writeFileSync(loader, 'module.exports = () => ({ encode() {} });');
    expect(loadFailure().message).toContain('not that of this version');
  });

  test('without its loader', () => {
    rmSync(join(directory, 'node_modules'), { recursive: true });
    expect(loadFailure().message).toContain('node-gyp-build');
  });
});

// Microkernels come in hundreds of shapes, and the standard library is linked in: both grow unseen.
test.skipIf(spawnSync('strip', ['--version']).error !== undefined)(
  'stripped, as it is published, the addon is well under 2 MB',
  () => {
    const stripped = join(directory, 'stripped.node');
    const { status, stderr } = spawnSync('strip', ['-o', stripped, join(built, addon)]);
    expect(status, String(stderr)).toBe(0);
    expect(statSync(stripped).size).toBeLessThan(1.75 * 2 ** 20);
  },
);
