import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Conv2d } from '../lib/conv2d.js';
import { getThreads, info, setThreads } from '../lib/index.js';
import { setIsa, setVariant, variants } from '../lib/settings.js';
import { inChild } from './child.js';
import { expectThrow, notNumbers, ones, wrong } from './wrong.js';

const threads = getThreads();
const { isa } = info();

afterEach(() => {
  setThreads(threads);
  setIsa(isa);
  setVariant(null);
});

describe('info', () => {
  test('tells the facts', () => {
    const facts = info();
    const { version } = JSON.parse(
      readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
    );
    expect(facts.version).toBe(version);
    expect(facts.availableIsas).toContain(facts.isa);
    expect(facts.availableIsas).toContain('baseline');
    expect(facts.cores).toBeGreaterThan(0);
    expect(facts.threads).toBe(getThreads());
    const { l1, l2 } = facts.cacheBytes;
    expect(l1).toBeGreaterThan(0);
    expect(l2).toBeGreaterThan(l1 - 1);
  });

  test('is fresh each time', () => {
    expect(info()).not.toBe(info());
    (info().availableIsas as string[]).length = 0;
    expect(info().availableIsas).not.toEqual([]);
  });
});

describe('setThreads', () => {
  test('1 to 1024', () => {
    for (const count of [1, 2, 1024, 3]) {
      setThreads(count);
      expect(getThreads()).toBe(count);
    }
  });

  test.each([...notNumbers, undefined].map((value) => ({ value })))('no number %#', ({ value }) => {
    expectThrow(() => setThreads(wrong(value)), 'TYPE', 'threads');
    expect(getThreads()).toBe(threads);
  });

  test.each([0, -1, 1.5, Number.NaN, 1025, Infinity])('%d', (value) => {
    expectThrow(() => setThreads(value), 'RANGE', 'threads');
    expect(getThreads()).toBe(threads);
  });
});

test('setVariant', () => {
  expect(new Set(variants()).size).toBe(variants().length);
  const layer = new Conv2d(ones(32, 32, 3, 3), { padding: 1 });
  for (const variant of variants().filter(
    (name) => !/^depthwise|^direct-(groups|rows)$/.test(name),
  )) {
    setVariant(variant);
    expect(layer.plan([1, 32, 9, 9]).variant).toBe(variant);
  }
  setVariant('depthwise-pixels');
  expectThrow(() => layer.plan([1, 32, 9, 9]), 'VALUE', 'options.algorithm');
  expectThrow(() => setVariant('nonsense'), 'VALUE', 'variant');
  setVariant(null);
  expect(layer.plan([1, 32, 9, 9]).algorithm).not.toBe('depthwise');
});

test('setIsa', () => {
  for (const name of info().availableIsas) {
    setIsa(name);
    expect(info().isa).toBe(name);
  }
  expectThrow(() => setIsa('sse9'), 'VALUE', 'isa');
});

describe('the environment', () => {
  const report = `
    import { info } from 'gemmconv';
    const { isa, threads } = info();
    console.log(JSON.stringify({ isa, threads }));
  `;
  const failure = `
    await import('gemmconv').then(
      () => console.log('loaded'),
      ({ name, code, message }) => console.log(JSON.stringify({ name, code, message })),
    );
  `;

  test.each(['baseline', ...info().availableIsas])('GEMMCONV_ISA=%s', (name) => {
    const { stdout, stderr } = inChild(report, { GEMMCONV_ISA: name });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout).isa).toBe(name);
  });

  test('GEMMCONV_THREADS=3', () => {
    const { stdout } = inChild(report, { GEMMCONV_THREADS: '3' });
    expect(JSON.parse(stdout).threads).toBe(3);
  });

  test('empty is unset', () => {
    const { stdout } = inChild(report, { GEMMCONV_THREADS: '', GEMMCONV_ISA: '' });
    expect(JSON.parse(stdout)).toEqual(JSON.parse(inChild(report).stdout));
  });

  test.each(['nonsense', 'AVX2', ' baseline', 'neon'])('GEMMCONV_ISA=%s', (name) => {
    const { stdout } = inChild(failure, { GEMMCONV_ISA: name });
    const error = JSON.parse(stdout);
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG_VALUE' });
    expect(error.message).toContain(`environment variable GEMMCONV_ISA, received '${name}'`);
    expect(error.message).toContain("'baseline'");
  });

  test.each(['0', '-1', '1.5', 'two', ' 1', '1e3', '1025', '9'.repeat(400)])(
    'GEMMCONV_THREADS=%s',
    (count) => {
      const { stdout } = inChild(failure, { GEMMCONV_THREADS: count });
      const error = JSON.parse(stdout);
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG_VALUE' });
      expect(error.message).toContain('an integer from 1 to 1024 for environment variable');
      expect(error.message).toContain('GEMMCONV_THREADS');
    },
  );
});
