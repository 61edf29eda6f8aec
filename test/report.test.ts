import { describe, expect, test } from 'vitest';
import type { Result } from '../bench/contest.js';
import { LAYERS, macsOf, SEED } from '../bench/layers.js';
import { parseNotation } from '../bench/notation.js';
import type { ReportData } from '../bench/report/data.js';
import { markup } from '../bench/report/markup.js';
import { networksOf } from '../bench/report/networks.js';
import { page } from '../bench/report/page.js';
import { intensityOf } from '../bench/report/roofline.js';
import { linearScale, logScale, STEPS, tickLabel } from '../bench/report/scale.js';
import { threadCounts } from '../bench/report/scaling.js';

const NASTY = `<script>alert("&amp;")</script> 'x' \u0000`;
const DRIVERS = ['naive TS', 'im2col+GEMM TS', 'native 1t', 'native 4t', 'ort 1t', 'ort 4t', NASTY];
const OWN = { ...parseNotation('3x8x8 -> 8 k3').layer, name: NASTY };
const layers = [SEED, ...LAYERS, OWN];

/** A driver is ten times as fast as the one before it. */
const results = layers.flatMap((layer) =>
  DRIVERS.map((driver, i): Result => {
    const gflops = 0.1 * 10 ** Math.min(i, 3);
    const ms = (2e-6 * macsOf(layer)) / gflops;
    const native = { variant: i === 2 ? 'winograd-f4' : 'direct-pixels', bound: 3e-6 };
    return {
      ...{ layer: layer.name, driver, threads: driver.includes('4t') ? 4 : 1, gflops },
      ...{ msMin: ms, msMedian: 2 * ms, msSamples: [ms, 3 * ms], error: i === 0 ? 0 : 1e-7 },
      ...(driver.startsWith('native') && native),
    };
  }),
);

const data: ReportData = {
  date: '2026-01-02T03:04:05.678Z',
  command: `npm run bench -- --report '${NASTY}'`,
  machine: {
    ...{ cpu: NASTY, platform: 'linux-x64', node: 'v20.0.0', gemmconv: '1.2.3', isa: 'avx2' },
    ...{ cores: 4, memoryBytes: 2 ** 34, peakGflops: 100 },
  },
  peers: ['onnxruntime-node 1.0.0'],
  ...{ layers, drivers: DRIVERS, threads: 4, results },
  scaling: [1, 2, 3, 4].map((threads) => ({
    ...(results[2] as Result),
    ...{ threads, driver: `native ${threads}t`, msMin: 1 / threads },
  })),
  roofs: [1, 4].map((threads) => ({
    threads,
    gflops: 100 * threads,
    gbytes: { l1: 300, l2: 150, memory: 20 },
  })),
};

const html = page(data);

describe('page', () => {
  test('is well-formed', () => {
    expect(html).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(openTags(html)).toEqual([]);
  });

  test('asks for nothing from elsewhere', () => {
    expect(html).not.toMatch(/https?:|\/\/|url\(|@import|<(script|link|img|iframe|object|base)\b/i);
    for (const [, target] of html.matchAll(/(?:href|src)="([^"]*)"/g)) {
      expect(target).toMatch(/^#\w+$/);
      expect(html).toContain(`id="${target?.slice(1)}"`);
    }
  });

  test('whatever a name holds, it stays text', () => {
    expect(html).not.toContain('<script');
    expect(html).not.toContain('\u0000');
    expect(html).toContain('&lt;script&gt;alert(&quot;&amp;amp;&quot;)&lt;/script&gt; &#39;x&#39;');
  });

  test('shows all layers, in bars, rooflines and errors', () => {
    const shown = (pattern: RegExp) => [...html.matchAll(pattern)].map(([, name]) => name);
    const groups = shown(/<th colspan="3" scope="rowgroup">(\S+?)<\/th>/g);
    for (const { name } of [SEED, ...LAYERS]) {
      expect(groups.filter((one) => one === name)).toHaveLength(1);
      // Two plots, for wide pages and for narrow ones, on one thread and on four.
      expect(html.split(`<title>${name}: `)).toHaveLength(1 + 4);
      expect(html.split(`<title>${name}, native 1t: `).length).toBe(1 + 2);
    }
  });

  test('the seed table comes first, with what it is asked for', () => {
    expect(html.indexOf('class="drivers"')).toBeLessThan(html.indexOf('class="bars"'));
    const table = html.slice(html.indexOf('class="drivers"'), html.indexOf('class="bars"'));
    const cells = [...table.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map(([, text]) => text);
    // ms, median, GFLOP/s, % of peak, × naive, error of the third driver, native on one thread.
    expect(cells.slice(12, 18)).toEqual(['0.0885', '0.177', '10.0', '10%', '100.0×', '1.0e-7']);
  });

  test('bars are as long as the logarithms', () => {
    const widths = [...html.matchAll(/<b class="([\w-]+)" style="width:([\d.]+)%">/g)];
    const of = (series: string) => widths.filter(([, name]) => name === series).map(([, , w]) => w);
    expect(new Set(of('naive'))).toEqual(new Set(['0']));
    expect(new Set(of('columns'))).toEqual(new Set(['33.33']));
    expect(new Set(of('native'))).toEqual(new Set(['66.67']));
    expect(new Set(of('native-all'))).toEqual(new Set(['100']));
    expect(of('native')).toHaveLength(layers.length);
  });

  test('pictures have a role and a label, tables a caption and scopes', () => {
    const pictures = html.match(/<svg[^>]*>/g) ?? [];
    for (const one of pictures) {
      expect(one).toMatch(/aria-hidden="true"|role="img" aria-label="[^"]{20,}"/);
    }
    expect(html.match(/<table/g)).toHaveLength((html.match(/<caption>/g) ?? []).length);
    for (const cell of html.match(/<th\b[^>]*>/g) ?? []) expect(cell).toContain('scope=');
  });

  test('tells how it was made', () => {
    for (const text of [
      'npm run bench -- --report',
      '1.2.3',
      'v20.0.0',
      'onnxruntime-node 1.0.0',
    ]) {
      expect(html.slice(html.indexOf('id="again"'))).toContain(text);
    }
    expect(html).toContain('2026-01-02T03:04:05.678Z');
  });

  test('leaves out what was not measured', () => {
    const bare = page({ ...data, roofs: [], scaling: [], drivers: ['native 1t'] });
    expect(bare).not.toContain('id="roofline"');
    expect(bare).not.toContain('id="threads"');
    expect(openTags(bare)).toEqual([]);
  });

  test('one layer of one driver is enough', () => {
    const one = results.filter(
      ({ layer, driver }) => layer === SEED.name && driver === 'native 1t',
    );
    const few = page({
      ...data,
      layers: [SEED],
      results: one,
      drivers: ['native 1t'],
      scaling: one,
    });
    expect(openTags(few)).toEqual([]);
    expect(few).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('has no number that is none', () => expect(html).not.toMatch(/NaN|undefined|Infinity/));
});

describe('scales', () => {
  test('a log scale spans whole decades, each as wide as the next', () => {
    const scale = logScale([0.03, 700], 100, 600);
    expect(scale.ticks).toEqual([0.01, 0.1, 1, 10, 100, 1000]);
    expect(scale.ticks.map((tick) => Math.round(scale.at(tick)))).toEqual([
      ...[100, 200, 300, 400, 500, 600],
    ]);
    expect(scale.at(Math.sqrt(10))).toBeCloseTo(350);
    expect([scale.at(0), scale.at(1e9)]).toEqual([100, 600]);
  });

  test('with steps it ends at the next 1, 2 or 5', () => {
    expect(logScale([0.6, 30], 0, 1, STEPS).ticks).toEqual([0.5, 1, 2, 5, 10, 20, 50]);
    expect(logScale([2, 2], 0, 1, STEPS).ticks).toEqual([2, 5]);
  });

  test.each([[[]], [[0, Number.NaN]], [[10]]])('of %j it is still a scale', (values) => {
    const { ticks, at } = logScale(values, 0, 1);
    expect(ticks.length).toBeGreaterThanOrEqual(2);
    expect(at(ticks[0] as number)).toBe(0);
  });

  test('linear', () => {
    const scale = linearScale(1, 4, 0, 30);
    expect(scale.ticks).toEqual([1, 2, 3, 4]);
    expect(scale.at(2)).toBe(10);
    expect(linearScale(1, 1, 5, 30).at(1)).toBe(5);
  });

  test('labels', () => {
    expect([0, 0.001, 0.1, 1, 2000, 1e-6, 1e-12].map(tickLabel)).toEqual([
      ...['0', '0.001', '0.1', '1', '2000', '10⁻⁶', '10⁻¹²'],
    ]);
  });
});

test('markup escapes what is put into it, once', () => {
  const inner = markup`<b>${'<&>'}</b>`;
  expect(markup`<i title="${`"'`}">${[inner, ' ', 1, undefined]}</i>`.text).toBe(
    '<i title="&quot;&#39;"><b>&lt;&amp;&gt;</b> 1</i>',
  );
});

test('every layer is in one network', () => {
  const networks = networksOf(layers);
  expect(networks.flatMap((network) => network.layers)).toHaveLength(layers.length);
  expect(networks.find(({ title }) => title === 'Other')?.layers).toEqual([OWN]);
});

test('intensity is FLOP a byte', () => {
  // 2 · 4·4 · 2·3 FLOP on 3·4·4 + 2·3 + 2 + 2·4·4 floats
  expect(intensityOf(parseNotation('3x4x4 -> 2').layer)).toBeCloseTo(192 / (4 * 88));
});

test('thread counts', () => {
  expect(threadCounts(1)).toEqual([1]);
  expect(threadCounts(5)).toEqual([1, 2, 3, 4, 5]);
  expect(threadCounts(40)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 40]);
});

/** Tags that are open at the end, or closed out of turn. */
function openTags(text: string): string[] {
  const open: string[] = [];
  const body = text.replace(/<style>[\s\S]*?<\/style>/, '').replace(/^<!doctype html>/, '');
  expect(body.replace(/<\/?[a-z][a-z0-9]*(\s+[\w-]+(="[^"<>]*")?)*\s*\/?>/g, '')).not.toMatch(
    /[<>]/,
  );
  for (const [, close, name, self] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*?(\/?)>/g)) {
    if (self === '/' || name === 'meta') continue;
    if (close !== '/') open.push(name as string);
    else if (open.pop() !== name) return [`</${name}>`];
  }
  return open;
}
