import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Block, blocksOf, markdownFiles, readMarkdown, root } from './docs/markdown.js';
import { expectedOutputOf, matchesOutput, moduleOf, outputsOf } from './docs/module.js';
import { commandsOf, judge } from './docs/shell.js';
import { PATIENCE } from './patience.js';

/** Inside the package, so that `gemmconv` is the package itself; kept, to look at what failed. */
const directory = join(root, 'build', 'docs');
const modules = join(directory, 'node_modules');
const peers = join(root, 'bench', 'node_modules');

/** What pages on other libraries import. `npm --prefix bench ci` installs it; CI does. */
const PEERS = ['onnxruntime-node', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'];

/**
 * The same functions as tfjs-node's, which downloads its libtensorflow when it is installed and so
 * is not.
 */
const STAND_IN = `
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
tf.env().set('IS_TEST', true); // or it prints an advertisement
await tf.setBackend('wasm');
await tf.ready();
export * from '@tensorflow/tfjs-core';
`;

/** A test that says what is not run, and why, and is counted among the skipped. */
function notRun(title: string, reason: string): void {
  console.log(`Not run: ${title}: ${reason}`);
  test.skip(`${title}: not run, ${reason}`);
}

const pages = markdownFiles().map((file) => {
  const blocks = blocksOf(file, readMarkdown(file));
  return { file, blocks, js: blocks.filter(({ language }) => language === 'js') };
});

beforeAll(() => {
  rmSync(modules, { recursive: true, force: true });
  for (const name of PEERS) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    if (existsSync(join(peers, name))) symlinkSync(join(peers, name), join(modules, name), 'dir');
  }
  const standIn = join(modules, '@tensorflow', 'tfjs-node');
  mkdirSync(standIn, { recursive: true });
  writeFileSync(join(standIn, 'package.json'), '{ "type": "module", "exports": "./index.js" }');
  writeFileSync(join(standIn, 'index.js'), STAND_IN);
});

afterAll(() => rmSync(modules, { recursive: true, force: true }));

const LANGUAGES = ['js', 'ts', 'sh', 'text', 'json'];

test('every block says what it is', () => {
  const strange = pages.flatMap(({ blocks }) =>
    blocks.filter(({ language }) => !LANGUAGES.includes(language)),
  );
  expect(strange.map(({ file, line, language }) => `${file}:${line}: '${language}'`)).toEqual([]);
});

test('no block is indented instead of fenced, and so escapes', () => {
  const indented = pages.flatMap(({ file }) => {
    const lines = readMarkdown(file).split('\n');
    return lines.flatMap((line, i) =>
      /^ {4}\S/.test(line) && (lines[i - 1] ?? '') === '' ? [`${file}:${i + 1}`] : [],
    );
  });
  expect(indented).toEqual([]);
});

describe('JavaScript', () => {
  for (const { file, blocks, js } of pages) {
    if (js.length === 0) continue;
    const needsPeers = js.some(({ code }) => /from '(onnxruntime|@tensorflow)/.test(code));
    const missing = needsPeers && PEERS.some((name) => !existsSync(join(peers, name)));
    const title = `${file}, ${js.length} block${js.length === 1 ? '' : 's'}`;
    if (!file.startsWith('docs/api/')) {
      test(`${file}: what is shown can be pasted into one file`, () => checkSyntax(js));
    }
    if (missing) notRun(title, '`npm --prefix bench ci --ignore-scripts` installs what it imports');
    else test(title, () => runPage(file, blocks, js));
  }
});

function checkSyntax(blocks: readonly Block[]): void {
  const shown = blocks.filter(({ isHidden }) => !isHidden);
  const { stderr } = spawnSync(process.execPath, ['--check', '--input-type=module', '-'], {
    ...{ encoding: 'utf8', input: shown.map(({ code }) => code).join('\n') },
  });
  expect(stderr).toBe('');
}

function runPage(file: string, blocks: readonly Block[], js: readonly Block[]): void {
  const script = pathOf(file, 'mjs');
  writeFileSync(script, moduleOf(js));
  const outputs = outputsOf(outputOf(script), js.length);
  js.forEach((block, i) => {
    const expected = expectedOutputOf(block, blocks[blocks.indexOf(block) + 1]);
    const printed = outputs[i] ?? '';
    const message = `${file}:${block.line} printed\n${printed}instead of\n${expected.join('\n')}`;
    expect(matchesOutput(printed, expected), message).toBe(true);
  });
}

/** Where a page's code is written to. */
function pathOf(name: string, extension: string): string {
  mkdirSync(directory, { recursive: true });
  return join(directory, `${name.replaceAll('/', '-')}.${extension}`);
}

/** What a script prints, if it runs without a word of complaint. */
function outputOf(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    ...{ cwd: directory, encoding: 'utf8', timeout: 60_000 * PATIENCE },
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  expect(stderr, script).toBe('');
  expect(status, stdout).toBe(0);
  return stdout;
}

describe('TypeScript', () => {
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  // Nothing but what the page says: no types of Node's.
  const strict = '--ignoreConfig --strict --target es2022 --module nodenext'.split(' ');
  for (const { file, blocks } of pages) {
    for (const block of blocks.filter(({ language }) => language === 'ts')) {
      test(`${file}:${block.line}`, () => {
        const source = pathOf(`${file}-${block.line}`, 'mts');
        writeFileSync(source, block.code);
        outputOf(compiler, ...strict, source);
        const expected = expectedOutputOf(block, blocks[blocks.indexOf(block) + 1]);
        const printed = outputOf(source.replace(/mts$/, 'mjs'));
        expect(matchesOutput(printed, expected), printed).toBe(true);
      });
    }
  }
});

describe('shell', () => {
  const lines = pages.flatMap(({ file, blocks }) =>
    blocks
      .filter(({ language }) => language === 'sh')
      .flatMap(({ line, code }) => commandsOf(code).map((command) => ({ file, line, command }))),
  );
  for (const { file, line, command } of lines) {
    const title = `${file}:${line}: ${command}`;
    let verdict: ReturnType<typeof judge>;
    try {
      verdict = judge(command);
    } catch (error) {
      test(title, () => expect.fail((error as Error).message));
      continue;
    }
    if ('notRun' in verdict) notRun(title, verdict.notRun);
    else if ('checked' in verdict) test(`${title}: ${verdict.checked}`, () => {});
    else {
      const [program = '', ...args] = verdict.run;
      test(title, () => {
        const { status, stderr } = spawnSync(program, args, {
          encoding: 'utf8',
          timeout: 60_000 * PATIENCE,
        });
        expect(stderr).toBe('');
        expect(status).toBe(0);
      });
    }
  }
});

describe('data', () => {
  for (const { file, blocks } of pages) {
    blocks.forEach(({ language, line, code, followsDirectly }, i) => {
      const title = `${file}:${line}: ${language}`;
      const before = followsDirectly ? blocks[i - 1]?.language : undefined;
      if (language === 'json') test(title, () => expect(() => JSON.parse(code)).not.toThrow());
      // Text behind a block of JavaScript is what that prints, and has been compared.
      if (language !== 'text' || before === 'js' || before === 'ts') return;
      notRun(title, before === 'sh' ? 'what that printed on some machine' : 'not code');
    });
  }
});

describe('what is checked', () => {
  const page = [
    '```js',
    "import { sep } from 'node:path';",
    'const a = 1;',
    'console.log(a + 1); // 2',
    '```',
    '',
    '<!-- js',
    "import { sep as other } from 'node:path';",
    'const b = a + 2;',
    '-->',
    '```js',
    'const a = b;',
    'console.log(a); // …',
    "console.log('x');",
    '```',
    '```text',
    'x',
    '```',
  ].join('\n');
  const blocks = blocksOf('page.md', page);
  const js = blocks.filter(({ language }) => language === 'js');

  test('blocks of a page go on from one another, hidden ones too', () => {
    expect(js.map(({ line, isHidden }) => [line, isHidden])).toEqual([
      [2, false],
      [8, true],
      [12, false],
    ]);
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module'], {
      ...{ input: moduleOf(js), encoding: 'utf8' },
    });
    expect(stderr).toBe('');
    const outputs = outputsOf(stdout, js.length);
    expect(outputs).toEqual(['2\n', '', '3\nx\n']);
    js.forEach((block, i) => {
      const expected = expectedOutputOf(block, blocks[blocks.indexOf(block) + 1]);
      expect(matchesOutput(outputs[i] as string, expected)).toBe(true);
    });
  });

  test('output that is not what the page says, or that it does not mention', () => {
    expect(matchesOutput('2\n', ['3'])).toBe(false);
    expect(matchesOutput('2\n', [])).toBe(false);
    expect(matchesOutput('', ['2'])).toBe(false);
    expect(matchesOutput('[ 1, 2 ]\n', ['[ 1, … ]'])).toBe(true);
  });

  test('commands that do not exist', () => {
    expect(commandsOf('# a\nnpm run bench -- \\\n  --quick  # b\nnpm ci && npm test')).toEqual([
      'npm run bench -- --quick',
      'npm ci',
      'npm test',
    ]);
    expect(judge('npm run bench -- --quick --layers seed,r50')).toHaveProperty('checked');
    expect(judge('GEMMCONV_ISA=avx2 npm test')).toHaveProperty('notRun');
    expect(() => judge('npm run bench -- --quicker')).toThrow('--quicker');
    expect(() => judge('npx gemmconv bench --quicker')).toThrow('--quicker');
    expect(() => judge('npm run bench -- --layers no-such')).toThrow('no-such');
    expect(() => judge('npm run bench -- --isa sse9')).toThrow('sse9');
    expect(() => judge('npm run no-such')).toThrow('no-such');
    expect(() => judge('GEMMCONV_NO_SUCH=1 npm test')).toThrow('GEMMCONV_NO_SUCH');
    expect(() => judge('rm -rf /')).toThrow('rm -rf /');
  });
});
