import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Paths under `folder`, relative to the package, with forward slashes. */
function filesIn(folder: string, extension: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) =>
      relative(root, join(root, folder, name))
        .split(sep)
        .join('/'),
    )
    .filter((path) => extension.test(path))
    .sort();
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function matches(path: string, pattern: RegExp): string[] {
  return [...read(path).matchAll(pattern)].map(([, name]) => name ?? '');
}

const importsOf = (path: string) => matches(path, /^(?:import|export|\}).* from '(.+)';$/gm);
const includesOf = (path: string) => matches(path, /^\s*#\s*include\s*[<"](.+)[>"]/gm);

/** Functions and methods, by how formatters indent them, with their lines. */
function functionsOf(path: string): { first: string; length: number }[] {
  const lines = read(path).split('\n');
  return lines.flatMap((first, begin) => {
    const indent = /^( {2})?(?=[\w#~[])/.exec(first)?.[0];
    if (indent === undefined || !first.includes('(')) return [];
    const head = lines.slice(begin).findIndex((line) => /[;{}]$/.test(line));
    if (head < 0 || !lines[begin + head]?.endsWith('{')) return [];
    const body = lines.slice(begin + head + 1).findIndex((line) => line.startsWith(`${indent}}`));
    return [{ first, length: head + body + 2 }];
  });
}

const libraryFiles = filesIn('lib', /\.ts$/);
const nativeFiles = filesIn('native', /\.(cc|h)$/);

describe('lib: who may import whom', () => {
  /** Data flows one way: each file may use those named, all of them above it in this table. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    types: [],
    intrinsics: [],
    errors: ['intrinsics', 'types'],
    geometry: ['errors', 'types'],
    elf: ['node:fs'],
    candidates: ['elf', 'node:fs', 'node:path'],
    'load-error': ['candidates'],
    binding: ['../binding.js', 'candidates', 'load-error', 'node:module', 'node:url'],
    problem: ['../binding.js', 'geometry'],
    tensor: ['errors', 'intrinsics', 'types'],
    transfer: ['errors', 'intrinsics', 'node:util'],
    options: ['errors', 'geometry', 'problem', 'tensor', 'transfer'],
    validate: ['errors', 'geometry', 'options', 'problem', 'tensor', 'transfer', 'types'],
    settings: ['binding', 'errors', 'options', 'types'],
    outcomes: ['../binding.js', 'errors'],
    lines: ['binding'],
    signals: [],
    calls: [
      ...['../binding.js', 'binding', 'lines', 'outcomes', 'signals', 'tensor', 'transfer'],
      ...['types'],
    ],
    plans: [
      ...['../binding.js', 'binding', 'calls', 'errors', 'geometry'],
      ...['problem', 'tensor', 'validate'],
    ],
    conv2d: [
      ...['binding', 'calls', 'errors', 'geometry', 'outcomes', 'plans'],
      ...['problem', 'tensor', 'types', 'validate'],
    ],
    index: ['conv2d', 'settings', 'types'],
  };

  test('every file is in the table, and the table has no cycle', () => {
    const names = libraryFiles.map((path) => path.slice('lib/'.length, -'.ts'.length));
    expect(names).toEqual(Object.keys(allowed).sort());
    const above = new Set<string>();
    for (const [name, uses] of Object.entries(allowed)) {
      for (const use of uses.filter((one) => /^[\w-]+$/.test(one))) expect(above).toContain(use);
      above.add(name);
    }
  });

  test.each(Object.keys(allowed))('%s', (name) => {
    const uses = importsOf(`lib/${name}.ts`).map((path) =>
      path.replace(/^\.\/([\w-]+)\.js$/, '$1'),
    );
    for (const use of uses) expect(allowed[name]).toContain(use);
  });

  test('the boundary is imported as types alone', () => {
    for (const path of libraryFiles) {
      const lines = read(path)
        .split('\n')
        .filter((line) => line.includes("'../binding.js'"));
      for (const line of lines) expect(line).toMatch(/^import type /);
    }
  });

  // For a seventh node-addon-api asks for memory, and ends the process where there is none.
  test('no function of the boundary takes more than six arguments', () => {
    const lists = matches('binding.d.ts', /^ {2}\w+\(([^)]*)\)/gm);
    expect(lists.length).toBeGreaterThan(15);
    for (const list of lists) expect((list.match(/\w+: /g) ?? []).length, list).toBeLessThan(7);
  });

  test('index re-exports, by name, and does nothing else', () => {
    const rest = read('lib/index.ts').replace(
      /export (type )?\{[\w\s,]+\} from '.\/[\w-]+\.js';/g,
      '',
    );
    expect(rest.trim()).toBe('');
  });
});

describe('bench: one more user of the package', () => {
  const benchFiles = filesIn('bench', /\.ts$/).filter((path) => !path.includes('node_modules'));

  test('it imports the library by its name', () => {
    for (const path of benchFiles) {
      for (const name of importsOf(path)) expect(name, path).not.toMatch(/\/(lib|dist)\//);
    }
  });

  test('a page is made of facts: of modules with a runtime of their own, types alone', () => {
    for (const path of benchFiles.filter((one) => one.startsWith('bench/report/'))) {
      const values = read(path).replace(/^import type .*$/gm, '');
      expect(values, path).not.toMatch(/from '(gemmconv|node:.+|\.\.\/(contest|machine)\.js)'/);
    }
  });
});

describe.skipIf(nativeFiles.length === 0)('native: who may include whom', () => {
  test('the addon alone knows of Node', () => {
    const node = /^(napi|node_api|node|uv|v8|js_native_api)\b/;
    const knowing = nativeFiles.filter((path) => includesOf(path).some((name) => node.test(name)));
    expect(knowing).not.toEqual([]);
    for (const path of knowing) expect(path).toMatch(/^native\/addon\//);
  });

  test('the addon sees the face of the core, not what is behind it', () => {
    const behind = /((gemm|direct|depthwise|winograd|kernel)\/|(pack|destination|dispatch)\.h$)/;
    for (const path of nativeFiles.filter((one) => one.startsWith('native/addon/'))) {
      expect(
        includesOf(path).filter((name) => behind.test(name)),
        path,
      ).toEqual([]);
    }
  });

  test('files named after it alone know of the operating system', () => {
    const headers = /^(windows|delayimp|unistd|pthread|sched|signal|dlfcn|sys\/.*)\.h$/;
    const macros = /\b(__linux__|__APPLE__|_WIN32|_MSC_VER|__unix__)\b/;
    const knowing = nativeFiles.filter(
      (path) => macros.test(read(path)) || includesOf(path).some((name) => headers.test(name)),
    );
    expect(knowing).not.toEqual([]);
    for (const path of knowing) expect(path).toMatch(/^native\/(system|addon)\/\1_[a-z]+\.cc$/);
  });

  test('algorithms know strides, no layouts; what a plan is, their *_algorithm.cc alone', () => {
    const own = nativeFiles.filter((path) =>
      /^native\/(gemm|direct|depthwise|winograd)\//.test(path),
    );
    expect(own).not.toEqual([]);
    for (const path of own.filter((one) => !one.endsWith('_algorithm.cc'))) {
      const knowing = /^(conv2d|algorithm|views|cost|filter)\.h$/;
      expect(
        includesOf(path).filter((name) => knowing.test(name)),
        path,
      ).toEqual([]);
    }
  });

  test('gemm and kernels do not know that they compute a convolution', () => {
    for (const path of [
      'native/gemm/gemm.cc',
      'native/gemm/gemm.h',
      ...filesIn('native/kernel', /./),
    ]) {
      expect(includesOf(path), path).not.toContain('conv2d.h');
      expect(includesOf(path), path).not.toContain('../conv2d.h');
    }
  });

  test('a kernel includes only kernel headers and what is freestanding', () => {
    const kernelFiles = filesIn('native/kernel', /\.(cc|h)$/);
    const own = kernelFiles.map((path) => path.slice('native/kernel/'.length));
    const freestanding = ['cstddef', 'cstdint', 'cfloat', 'climits'];
    for (const path of kernelFiles) {
      for (const name of includesOf(path)) expect([...own, ...freestanding], path).toContain(name);
    }
  });
});

describe('size and style', () => {
  test('no file is longer than 400 lines', () => {
    const lines = (path: string) => read(path).split('\n').length;
    expect([...libraryFiles, ...nativeFiles].filter((path) => lines(path) > 400)).toEqual([]);
  });

  // What a kernel unrolls is one function, whatever its length.
  test('no function is longer than 60 lines, but for kernels', () => {
    const others = nativeFiles.filter((path) => !path.startsWith('native/kernel/'));
    for (const path of [...libraryFiles, ...others]) {
      const long = functionsOf(path).filter(({ length }) => length > 60);
      expect(long, path).toEqual([]);
    }
  });

  test('no file is a drawer for odds and ends', () => {
    const drawer = /(utils?|common|helpers?|misc)\./;
    expect([...libraryFiles, ...nativeFiles].filter((path) => drawer.test(path))).toEqual([]);
  });
});
