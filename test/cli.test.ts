import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { outputShapeOf } from '../bench/layers.js';
import { parseNotation } from '../bench/notation.js';
import { Conv2d } from '../lib/conv2d.js';
import { inChild } from './child.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
};

/** The command as installed. */
function gemmconv(...args: string[]) {
  const command = join(root, manifest.bin.gemmconv as string);
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], {
    ...{ encoding: 'utf8', timeout: 50_000 },
    env: { ...process.env, NODE_OPTIONS: '', GEMMCONV_ISA: '', GEMMCONV_THREADS: '' },
  });
  return { status, stdout, stderr };
}

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The same for many command lines, one after the other in one process: most of its time is its start. */
function gemmconvOnAll(lines: readonly (readonly string[])[]): Outcome[] {
  const command = pathToFileURL(join(root, manifest.bin.gemmconv as string)).href;
  const script = `
    import { format } from 'node:util';
    const outcomes = [];
    const print = console.log;
    for (const [i, args] of ${JSON.stringify(lines)}.entries()) {
      const outcome = { stdout: '', stderr: '' };
      console.log = (...values) => { outcome.stdout += format(...values) + '\\n'; };
      console.error = (...values) => { outcome.stderr += format(...values) + '\\n'; };
      process.argv = [process.execPath, 'gemmconv', ...args];
      process.exitCode = undefined;
      await import(${JSON.stringify(command)} + '?' + i);
      outcomes.push({ ...outcome, status: process.exitCode });
    }
    process.exitCode = 0;
    print(JSON.stringify(outcomes));
  `;
  const { stdout, stderr } = inChild(script, { GEMMCONV_ISA: '', GEMMCONV_THREADS: '' });
  if (stderr !== '') throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('the command', () => {
  test('starts with what makes it one', () => {
    const first = readFileSync(join(root, manifest.bin.gemmconv as string), 'utf8').split('\n')[0];
    expect(first).toBe('#!/usr/bin/env node');
  });

  test('--version', () => {
    expect(gemmconv('--version')).toEqual({
      ...{ status: 0, stdout: `${manifest.version}\n`, stderr: '' },
    });
  });

  test.each([
    [['--help'], /Usage: npx gemmconv <command>/],
    [['bench', '--help'], /Usage: npx gemmconv bench/],
    [['info', '--help'], /Usage: npx gemmconv info/],
    [['plan', '--help'], /Usage: npx gemmconv plan[\s\S]*CxHxW -> OC/],
    [['help', 'plan'], /Usage: npx gemmconv plan/],
  ])('%j', (args, expected) => {
    const { status, stdout, stderr } = gemmconv(...args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(expected);
    const tooWide = stdout.split('\n').filter((line) => line.length > 100);
    expect(tooWide).toEqual([]);
  });

  const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /No command given/],
    [['inof'], /Unknown command 'inof': did you mean info\?/],
    [['constructor'], /Unknown command 'constructor': there are bench, info, plan/],
    [['info', '--jsno'], /Unknown option --jsno: did you mean --json\?/],
    [['info', 'more'], /Unexpected argument 'more'\n/],
    [['plan'], /plan takes a layer/],
    [['plan', '3x8x8', '->', '4'], /between quotes/],
    [['plan', '3x8x8 -'], /between quotes/], // what a shell leaves of it
    [['plan', '3x8x8 -> 4', '-m'], /^Unknown option -m\n/],
    [['plan', '3x8x8 -> 4 kernel=3'], /did you mean 'k3'\?/],
    [['plan', '16777216x9x9 -> 16777216'], /^'16777216x9x9 -> 16777216': /],
    [['plan', '3x8x8 -> 4 k3 depthwise'], /'auto' always can/],
    [['bench', '--layers', 'nothing-like-it'], /No layer's name contains 'nothing-like-it'/],
    [['bench', 'r50'], /--layers r50/],
    [['bench', '--threads'], /^--threads takes a value\n/],
    [['bench', '--threads', '--quick'], /^--threads takes a value\n/],
    [['bench', '--quick=yes'], /^--quick takes no value\n/],
    [['bench', '--threads', '0'], /--threads takes a number from 1 to 1024/],
    [['bench', '--isa', 'mmx'], /--isa takes one of/],
    [['bench', '--fresh', '--ladder'], /one at a time/],
    [['bench', '--fresh', '--report', 'x.html'], /--report does not go with --fresh/],
    [['bench', '--json', 'no/such/folder/x.json'], /'no\/such\/folder\/x.json' cannot be written/],
    [['bench', '--report', '.'], /'\.' cannot be written: it is a folder/],
    [['bench', '1x8x8 -> 1 nhwc'], /in nchw/],
  ];
  const outcomes = gemmconvOnAll(WRONG.map(([args]) => args));

  test.each(WRONG.map(([args, expected], i) => ({ args, expected, outcome: outcomes[i] })))(
    '$args is a wrong command line',
    ({ expected, outcome }) => {
      expect(outcome).toMatchObject({ status: 2, stdout: '' });
      expect(outcome?.stderr).toMatch(expected);
      expect(outcome?.stderr).not.toMatch(/^\s+at /m);
    },
  );

  test('a wrong command line, in a process of its own', () => {
    const { status, stdout, stderr } = gemmconv('plan', '3x8x8 -> 4', '-m');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^Unknown option -m\n/);
  });
});

describe('info', () => {
  test('names the addon in use', () => {
    const { status, stdout } = gemmconv('info');
    expect(status).toBe(0);
    const addon = /^addon +(.+\.node)$/m.exec(stdout)?.[1] ?? '';
    expect(statSync(addon).size).toBeGreaterThan(10_000);
  });

  test('--json', () => {
    const facts = JSON.parse(gemmconv('info', '--json').stdout) as Record<string, unknown>;
    expect(facts).toMatchObject({ version: manifest.version, node: process.versions.node });
    expect(facts.availableIsas).toContain(facts.isa);
  });
});

describe('plan', () => {
  test('tells how the layer is computed, and what it should take', () => {
    const { status, stdout } = gemmconv('plan', '3x224x224 -> 64 k7 s2 p3 t1');
    expect(status).toBe(0);
    for (const name of ['algorithm', 'isa', 'blocks', 'threads', 'workspace', 'predicted']) {
      expect(stdout).toMatch(new RegExp(`^${name} +\\S`, 'm'));
    }
    expect(stdout).toContain('1x64x112x112');
    expect(stdout).toContain('118 M multiply-adds');
  });

  test('--json --measure, words of the layer apart', () => {
    const args = ['16x14x14 -> 32', 'k3', 'same', 'nhwc', 'winograd', '--json', '--measure'];
    const { status, stdout, stderr } = gemmconv('plan', ...args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const facts = JSON.parse(stdout);
    expect(facts.outputShape).toEqual([1, 14, 14, 32]);
    expect(facts.plan.algorithm).toBe('winograd');
    expect(facts.macs).toBe(14 * 14 * 32 * 16 * 9);
    expect(facts.predictedMs).toBeGreaterThan(0);
    expect(facts.measured.msMin).toBeGreaterThan(0);
    expect(facts.measured.error).toBeLessThan(1e-5);
  });
});

describe('bench', () => {
  test('a layer of one’s own, to JSON', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gemmconv-'));
    try {
      const json = join(folder, 'out.json');
      const args = ['--quick', '--threads', '1', '--json', json];
      const { status, stdout } = gemmconv('bench', ...args, '3x16x16 -> 8 k3 same');
      expect(status).toBe(0);
      expect(stdout).toMatch(/native 1t is [\d.]+× as fast as naive TS/);
      const { results } = JSON.parse(readFileSync(json, 'utf8'));
      const drivers = results.map(({ driver }: { driver: string }) => driver);
      expect(drivers).toEqual(expect.arrayContaining(['naive TS', 'im2col+GEMM TS', 'native 1t']));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('--predictions', () => {
    const { status, stdout } = gemmconv(
      'bench',
      '--predictions',
      '--quick',
      '--layers',
      'seed_,tiny',
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/predicted over measured: off by a factor of [\d.]+ in the middle/);
  });
});

describe('notation', () => {
  test('every word', () => {
    expect(parseNotation('n8 32x15x17 -> 64 k3x5 s2 p1x2 d2 g4 nhwc exact t3')).toEqual({
      layer: {
        ...{ name: 'n8 32x15x17 -> 64 k3x5 s2 p1x2 d2 g4 nhwc exact t3', batch: 8 },
        ...{ C: 32, H: 15, W: 17, OC: 64, KH: 3, KW: 5, stride: 2, dilation: 2, groups: 4 },
        padding: { top: 1, left: 2, bottom: 1, right: 2 },
      },
      ...{ layout: 'nhwc', algorithm: 'exact', threads: 3 },
    });
  });

  test('what is left out', () => {
    const { layer, ...rest } = parseNotation('1x1x1→1');
    expect(rest).toEqual({ layout: 'nchw', algorithm: 'auto', threads: undefined });
    expect(layer).toMatchObject({ batch: 1, KH: 1, KW: 1, stride: 1, dilation: 1, groups: 1 });
    expect(layer.padding).toEqual({ top: 0, left: 0, bottom: 0, right: 0 });
  });

  test('capitals will do', () => {
    const { layer } = parseNotation('1X8X8 -> 4 K3 Same');
    expect(layer).toMatchObject({ KH: 3, padding: { top: 1 } });
  });

  test('dw is one group a channel', () => {
    expect(parseNotation('24x9x9 -> 48 k3 dw').layer.groups).toBe(24);
  });

  // The library's own words for it must agree.
  test.each(['same', 'same-lower', 'valid'] as const)('%s pads as the library does', (padding) => {
    for (const [size, kernel, stride, dilation] of [
      ...[
        [224, 7, 2, 1],
        [15, 3, 1, 2],
        [8, 2, 1, 1],
        [7, 1, 3, 1],
        [9, 4, 3, 2],
      ],
    ] as const) {
      const text = `2x${size}x${size + 1} -> 4 k${kernel}x${kernel + 1} s${stride} d${dilation}`;
      const { layer } = parseNotation(`${text} ${padding}`);
      const shape = [1, 2, size, size + 1];
      const filter = {
        shape: [4, 2, kernel, kernel + 1],
        data: new Float32Array(8 * kernel * (kernel + 1)),
      };
      const input = {
        shape,
        data: Float32Array.from({ length: 2 * size * (size + 1) }, (_, i) => i),
      };
      filter.data.fill(1);
      const named = new Conv2d(filter, { stride, dilation, padding, algorithm: 'exact' });
      const sided = new Conv2d(filter, {
        stride,
        dilation,
        padding: layer.padding,
        algorithm: 'exact',
      });
      expect(outputShapeOf(layer), text).toEqual(named.outputShape(shape));
      expect(sided.runSync(input), text).toEqual(named.runSync(input));
    }
  });

  test.each([
    ['3x8x8 64', /no '->'/],
    ['3x8 -> 64', /expected CxHxW, got '3x8'\n {2}3x8 -> 64\n {2}\^$/],
    ['-> 64', /expected CxHxW before ->/],
    ['3x8x8 ->', /expected output channels after ->/],
    ['3x8x8 -> 4x4', /expected OC, got '4x4'/],
    ['3x8x8 -> 64 q3', /unknown word 'q3'.*\n.*\n {2} {12}\^$/],
    ['3x8x8 -> 64 smae', /did you mean 'same'\?/],
    ['3x8x8 -> 64 s1x2', /stride is the same both ways here: s1/],
    ['3x8x8 -> 64 k3 k5', /a second kernel/],
    ['3x8x8 -> 64 p1 same', /a second padding/],
    ['3x8x8 -> 64 s0', /stride takes numbers from 1/],
    ['3x8x0 -> 64', /CxHxW takes numbers from 1/],
    ['3x8x8 -> 64 t2000', /threads takes numbers from 1 to 1024/],
    ['3x8x8 -> 64 g2', /2 groups do not divide 3 channels/],
    ['3x8x8 -> 64 k9', /the kernel is larger than the padded image/],
    ['3x8x8 -> 64 k99999999999999999999', /kernel takes numbers/],
  ])('%s', (text, expected) => {
    expect(() => parseNotation(text)).toThrow(expected);
  });
});
