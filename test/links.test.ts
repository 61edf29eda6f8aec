import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  anchorsOf,
  type Link,
  linksOf,
  markdownFiles,
  proseOf,
  readMarkdown,
  root,
} from './docs/markdown.js';

const files = markdownFiles();

/** What is wrong with a link; undefined if nothing. Addresses elsewhere are not asked for. */
function faultOf(file: string, { target }: Link): string | undefined {
  if (/^(https:\/\/|mailto:)/.test(target)) return undefined;
  if (/^[a-z]+:/i.test(target)) return 'neither a path nor https';
  const [path = '', anchor] = decodeURI(target).split('#');
  const linked = path === '' ? file : normalize(join(dirname(file), path));
  if (linked.startsWith('..') || path.startsWith('/')) return 'leaves the repository';
  if (!existsSync(join(root, linked))) return 'no such file';
  if (anchor === undefined) return undefined;
  if (statSync(join(root, linked)).isDirectory()) return 'a folder has no anchors';
  const text = readFileSync(join(root, linked), 'utf8');
  const line = /^L(\d+)$/.exec(anchor)?.[1];
  if (line !== undefined) {
    return Number(line) <= text.split('\n').length ? undefined : 'no such line';
  }
  return anchorsOf(text).has(anchor) ? undefined : 'no such heading';
}

test('the documentation is found', () => {
  expect(files).toContain('README.md');
  expect(files).toContain('bench/README.md');
  expect(files.filter((file) => file.startsWith('docs/')).length).toBeGreaterThan(20);
});

test.each(files)('links of %s lead somewhere', (file) => {
  const faults = linksOf(readMarkdown(file)).flatMap((link) => {
    const fault = faultOf(file, link);
    return fault === undefined ? [] : `${file}:${link.line}: ${link.target}: ${fault}`;
  });
  expect(faults).toEqual([]);
});

test('every page of docs can be reached from README.md', () => {
  const reached = new Set(['README.md']);
  for (const file of reached) {
    for (const { target } of linksOf(readMarkdown(file))) {
      const path = normalize(join(dirname(file), target.split('#')[0] ?? ''));
      if (files.includes(path)) reached.add(path);
    }
  }
  expect(files.filter((file) => file.startsWith('docs/') && !reached.has(file))).toEqual([]);
});

test.each(files)('%s names no script that package.json does not have', (file) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const known = Object.keys(scripts);
  const named = [...readMarkdown(file).matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name);
  expect(named.filter((name) => !known.includes(name as string))).toEqual([]);
});

describe('what is checked', () => {
  const page = [
    '# A page: `code` & more',
    'text [one](a.md#b) `[not](one)`',
    '## Twice',
    '```js',
    '// [nor](this)',
    '```',
    '## Twice',
    '[two](<c.md> "title")',
    '',
    '[three]: d.md',
  ].join('\n');

  test('links outside code, with their lines', () => {
    expect(linksOf(page)).toEqual([
      { target: 'a.md#b', line: 2 },
      { target: 'c.md', line: 8 },
      { target: 'd.md', line: 10 },
    ]);
  });

  test('headings as GitHub calls them', () => {
    expect([...anchorsOf(page)]).toEqual(['a-page-code--more', 'twice', 'twice-1']);
  });

  test('prose keeps its lines', () => {
    expect(proseOf(page).split('\n')).toHaveLength(10);
    expect(proseOf(page)).not.toContain('nor');
  });

  test('files and headings that are not there', () => {
    const fault = (target: string) => faultOf('README.md', { target, line: 1 });
    expect(fault('ARCHITECTURE.md#the-gemm')).toBeUndefined();
    expect(fault('https://example.org/')).toBeUndefined();
    expect(fault('NOWHERE.md')).toBe('no such file');
    expect(fault('ARCHITECTURE.md#no-such')).toBe('no such heading');
    expect(fault('#no-such')).toBe('no such heading');
    expect(fault('../elsewhere')).toBe('leaves the repository');
    expect(fault('lib/index.ts#L9999')).toBe('no such line');
    expect(fault('http://example.org/')).toBe('neither a path nor https');
  });
});
