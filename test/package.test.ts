import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { linksOf, readMarkdown } from './docs/markdown.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

interface Packed {
  readonly size: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

// One string, because on Windows npm is a script of the shell's.
const { stdout, stderr } = spawnSync('npm pack --dry-run --json --ignore-scripts', {
  ...{ cwd: root, shell: true, encoding: 'utf8' },
});
const [packed] = JSON.parse(stdout || '[]') as [Packed?];
if (packed === undefined) throw new Error(stderr);
const paths = packed.files.map(({ path }) => path);

/** Each kind of file that is published, and whether there must be one. */
const KINDS: Readonly<Record<string, RegExp>> = {
  'what npm wants': /^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/,
  'what README leads to':
    /^((ARCHITECTURE|CONTRIBUTING|SECURITY|bench\/README)|docs\/[\w/-]+)\.md$/,
  'the library': /^dist\/[\w-]+\.(js|d\.ts)$/,
  'the command': /^dist\/(bench|test)\/[\w/-]+\.js$/,
  'for debuggers': /^(dist\/[\w-]+\.js\.map|lib\/[\w-]+\.ts)$/,
  'the boundary, which dist/*.d.ts refer to': /^binding\.d\.ts$/,
  'for those who compile':
    /^(CMakeLists\.txt|compile\.mjs|native\/(?!test|bench)(\w+\/)?\w+\.(cc|h|map))$/,
  'prebuilt addons': /^prebuilds\/\w+-\w+\/gemmconv(\.glibc|\.musl)?\.node$/,
};

test('the package holds what it should, and nothing else', () => {
  const isOfAKind = (path: string) => Object.values(KINDS).some((kind) => kind.test(path));
  expect(paths.filter((path) => !isOfAKind(path))).toEqual([]);
});

test.each(Object.entries(KINDS))('%s', (name, kind) => {
  const found = paths.filter((path) => kind.test(path));
  if (name === 'prebuilt addons' && !existsSync(join(root, 'prebuilds'))) return;
  expect(found).not.toEqual([]);
});

test('its pages lead to no page that it does not hold', () => {
  const pages = paths.filter((path) => path.endsWith('.md'));
  const linked = pages.flatMap((page) =>
    linksOf(readMarkdown(page))
      .map(({ target }) => target.split('#')[0] ?? '')
      .filter((path) => path.endsWith('.md') && !path.startsWith('https:'))
      .map((path) => posix.join(posix.dirname(page), path)),
  );
  expect(linked.length).toBeGreaterThan(100);
  expect(linked.filter((path) => !pages.includes(path))).toEqual([]);
});

test('every source has been compiled, and nothing is left of others', () => {
  const stems = (pattern: RegExp) => paths.map((path) => pattern.exec(path)?.[1]).filter(Boolean);
  const sources = stems(/^lib\/(.+)\.ts$/);
  expect(sources).toContain('index');
  for (const built of [/^dist\/([\w-]+)\.js$/, /^dist\/(.+)\.d\.ts$/, /^dist\/(.+)\.js\.map$/]) {
    expect(stems(built).sort()).toEqual([...sources].sort());
  }
  const commands = stems(/^dist\/((?:bench|test)\/.+)\.js$/);
  expect(commands).toContain('bench/cli/main');
  expect(commands.filter((stem) => !existsSync(join(root, `${stem}.ts`)))).toEqual([]);
});

test('everything that CMake is told to compile is there', () => {
  const told =
    readFileSync(join(root, 'CMakeLists.txt'), 'utf8').split('# --- developers')[0] ?? '';
  const named = [...told.matchAll(/native\/(?!bench)[\w/]+\.(cc|map)/g)].map(([path]) => path);
  expect(named.length).toBeGreaterThan(20);
  for (const path of named) expect(paths).toContain(path);
});

test('the tarball is no larger than 4 MiB, an addon than 2', () => {
  expect(packed.size).toBeLessThan(4 * 2 ** 20);
  for (const { path, size } of packed.files) {
    if (path.startsWith('prebuilds/')) expect(size, path).toBeLessThan(2 * 2 ** 20);
  }
});

test('installing it runs nothing, and brings headers alone', () => {
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
    expect(Object.keys(manifest.scripts)).not.toContain(script);
  }
  expect(existsSync(join(root, 'binding.gyp')), 'npm would run node-gyp').toBe(false);
  expect(Object.keys(manifest.dependencies)).toEqual(['node-addon-api', 'node-api-headers']);
});
