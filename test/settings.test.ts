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
    (name) => !/^depthwise|^direct-(groups|rows)$|-5x5$/.test(name),
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
  /** What the settings fail with under each value, read anew in one process: to start takes longest. */
  function failuresUnder(variable: string, values: readonly string[]) {
    const { stdout, stderr } = inChild(`
      const settings = new URL('settings.js', import.meta.resolve('gemmconv')).href;
      const failures = [];
      for (const [i, value] of ${JSON.stringify(values)}.entries()) {
        process.env.${variable} = value;
        failures.push(await import(settings + '?' + i).then(
          () => 'loaded',
          ({ name, code, message }) => ({ name, code, message }),
        ));
      }
      console.log(JSON.stringify(failures));
    `);
    expect(stderr).toBe('');
    const failures = JSON.parse(stdout);
    expect(failures).toHaveLength(values.length);
    return values.map((value, i) => ({ value, error: failures[i] }));
  }

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

  test('what it sets wrongly fails the import of the package', () => {
    const failure = `
      await import('gemmconv').then(
        () => console.log('loaded'),
        ({ name, code }) => console.log(name, code),
      );
    `;
    for (const environment of [{ GEMMCONV_ISA: 'nonsense' }, { GEMMCONV_THREADS: '0' }]) {
      const { stdout } = inChild(failure, environment);
      expect(stdout).toBe('RangeError ERR_INVALID_ARG_VALUE\n');
    }
  });

  test('GEMMCONV_ISA that there is not', () => {
    const names = ['nonsense', 'AVX2', ' baseline', 'neon'];
    for (const { value, error } of failuresUnder('GEMMCONV_ISA', names)) {
      expect(error, value).toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG_VALUE' });
      expect(error.message).toContain(`environment variable GEMMCONV_ISA, received '${value}'`);
      expect(error.message).toContain("'baseline'");
    }
  });

  test('GEMMCONV_THREADS that cannot be', () => {
    const counts = ['0', '-1', '1.5', 'two', ' 1', '1e3', '1025', '9'.repeat(400)];
    for (const { value, error } of failuresUnder('GEMMCONV_THREADS', counts)) {
      expect(error, value).toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG_VALUE' });
      expect(error.message).toContain('an integer from 1 to 1024 for environment variable');
      expect(error.message).toContain('GEMMCONV_THREADS');
    }
  });
});
