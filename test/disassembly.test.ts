import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

// Whether a compiler keeps a tile in registers is not written in the source: another release, or an
// innocent change of a loop, and it spills, at half the speed. So the inner loops of each kernel's
// full tile are read as the compiler made them.

const build = fileURLToPath(new URL('../build/CMakeFiles/', import.meta.url));
const kernels = fileURLToPath(new URL('../native/kernel/', import.meta.url));
const objdumpExists = spawnSync('objdump', ['--version']).error === undefined;
const isArm = process.arch === 'arm64';
const canRead = objdumpExists && (isArm || process.arch === 'x64');

/**
 * Least share of multiply-adds (of multiplications and additions, without FMA) in the instructions
 * of a kernel's best loop. What GCC 12 gives, least of all instruction sets, less a tenth; what is
 * left are loads, broadcasts, addresses and prefetches.
 */
const LEAST_SHARE: Readonly<Record<string, number>> = {
  gemm: 0.43,
  direct: 0.36,
  direct_pixels: 0.4,
  depthwise_pixels: 0.3,
  winograd: 0.39,
};

/** Kernels that only copy. */
const COPYING: readonly string[] = ['strip', 'channel_vectors'];

/** The same for rows of taps that are cut by a border: a test and a jump for each pixel besides. */
const CUT_ROW_SHARE = 0.25;

/** Kernels whose best loop may read so many addresses from the stack; any other none. */
const ADDRESSES_ON_STACK: Readonly<Record<string, number>> = {
  'avx512 depthwise_pixels': 4,
};

/**
 * Of an unrolled window, vectors to and from the stack: eight sums (four) are handed over to be
 * finished, with two more; and nine weights, a mask and a row do not all fit into 16 registers. On
 * arm64 all is handing over, by eight calls (52 in windows of any size).
 */
const SQUARE_VECTORS_ON_STACK: Readonly<Record<string, number>> = {
  avx512: 10,
  avx2: 47,
  baseline: isArm ? 52 : 27,
};

/**
 * With channels on the lanes an unrolled window keeps all it has in registers: the stack sees each
 * sum once, on its way to a residual or an activation, and what describes the output.
 */
const OUTPUT_ON_STACK = 5;

/** A function template that computes a register tile of so many rows and vectors. */
interface Tile {
  readonly name: string;
  readonly rows: number;
  readonly vectors: number;
  readonly code: readonly Instruction[];
}

interface Instruction {
  readonly address: number;
  readonly text: string;
}

interface Loop {
  readonly code: readonly Instruction[];
  readonly share: number;
}

const isJump = ({ text }: Instruction) => /^(j\w+|b|b\.\w+|cbn?z|tbn?z)\s/.test(text);
const targetOf = ({ text }: Instruction) => Number.parseInt(/(\w+) </.exec(text)?.[1] ?? '', 16);
const isArithmetic = ({ text }: Instruction) =>
  /^(vfn?m(add|sub)\d+ps|mulps|addps|fml[as])\s/.test(text);
const usesVectors = ({ text }: Instruction) => /%[xyz]mm\d|\b[qv]\d/.test(text);

/** An address that was kept in a vector register: getting it back waits for the multiply-adds. */
const isBackFromVector = ({ text }: Instruction) => /^v?mov[dq]\s+%xmm\d+,%[er]/.test(text);

/** Reads or writes memory of its own frame. %rbp is its base only where code sets it up as such. */
function usesStack(instruction: Instruction, frame: RegExp): boolean {
  return frame.test(instruction.text) && !instruction.text.startsWith('lea');
}

function frameOf({ code }: Pick<Template, 'code'>): RegExp {
  const hasBase = code.some(({ text }) => /^mov\s+(%rsp,%rbp|x29, sp)$/.test(text));
  return hasBase ? /\((%rsp|%rbp)|\[(sp|x29)\b/ : /\(%rsp|\[sp\b/;
}

interface Template {
  readonly name: string;
  readonly args: string;
  readonly code: readonly Instruction[];
}

/** The function templates of an object. */
function templatesOf(object: string): Template[] {
  const run = spawnSync('objdump', ['-d', '-C', '--no-show-raw-insn', object], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout.split('\n\n').flatMap((section) => {
    const head = /^[0-9a-f]+ <.*?(\w+)<((?:\w+, )?\d+, \d+.*?)>\(.*>:$/m.exec(section);
    if (head === null) return [];
    const [, name = '', args = ''] = head;
    const code = [...section.matchAll(/^\s*([0-9a-f]+):\s+(.*?)\s*$/gm)].map(
      ([, address, text]) => ({
        address: Number.parseInt(address ?? '', 16),
        text: text ?? '',
      }),
    );
    return [{ name, args, code }];
  });
}

/** Those that compute a tile, each at its largest; what only finishes one has no loop. */
function tilesOf(templates: readonly Template[]): Tile[] {
  const largest = new Map<string, Tile>();
  for (const { name, args, code } of templates) {
    const numbers = /^(\d+), (\d+)(.*)$/.exec(args);
    if (numbers === null || name.startsWith('finish')) continue;
    const [, rows, vectors, rest] = numbers;
    const tile = { name: `${name}<${args}>`, rows: Number(rows), vectors: Number(vectors), code };
    const key = `${name}${rest}`;
    const known = largest.get(key);
    const sizeOf = (one: Tile) => one.rows * one.vectors;
    if (known === undefined || sizeOf(tile) > sizeOf(known)) largest.set(key, tile);
  }
  return [...largest.values()];
}

/** The innermost loops that compute at least one step of the whole tile. */
function hotLoops(tile: Tile, isa: string): Loop[] {
  const step = tile.rows * tile.vectors * (isa === 'baseline' && !isArm ? 2 : 1);
  const loops = loopsOf(tile.code);
  return loops
    .filter((loop) => !loops.some((other) => other.size < loop.size && isWithin(other, loop)))
    .map((loop) => {
      const code = tile.code.filter((_, index) => loop.has(index));
      return { code, share: code.filter(isArithmetic).length / code.length };
    })
    .filter(({ code }) => code.filter(isArithmetic).length >= step);
}

/**
 * Natural loops, as sets of indices: what leads to a jump back without passing the jump's target. (A
 * range of addresses would not do: compilers put other code between.)
 */
function loopsOf(code: readonly Instruction[]): Set<number>[] {
  const indexOf = new Map(code.map(({ address }, index) => [address, index]));
  const before = code.map((_, index) =>
    index > 0 && !/^(jmp|b\s|ret)/.test(code[index - 1]?.text ?? '') ? [index - 1] : [],
  );
  const jumps = code.flatMap((one, from) => {
    const to = isJump(one) ? indexOf.get(targetOf(one)) : undefined;
    return to === undefined ? [] : [{ from, to }];
  });
  for (const { from, to } of jumps) before[to]?.push(from);
  return jumps
    .filter(({ from, to }) => to <= from)
    .map(({ from, to }) => {
      const loop = new Set([to]);
      const open = [from];
      for (let index = open.pop(); index !== undefined; index = open.pop()) {
        if (loop.has(index)) continue;
        loop.add(index);
        open.push(...(before[index] ?? []));
      }
      return loop;
    })
    .filter((loop) => !loop.has(0));
}

function isWithin(inner: ReadonlySet<number>, outer: ReadonlySet<number>): boolean {
  return [...inner].every((index) => outer.has(index));
}

function listing(code: readonly Instruction[]): string {
  return code.map(({ text }) => text).join('\n');
}

const objects = canRead
  ? readdirSync(build, { recursive: true, encoding: 'utf8' })
      .filter((path) => /gemmconv_kernel_\w+\.dir.*_kernel\.cc\.o$/.test(path))
      .sort()
      .map((path) => ({
        path: join(build, path),
        isa: /gemmconv_kernel_(\w+)\.dir/.exec(path)?.[1] ?? '',
        kernel: basename(path).replace('_kernel.cc.o', ''),
      }))
      .filter(({ kernel }) => !COPYING.includes(kernel))
      // An old build keeps the objects of sources that are gone.
      .filter(({ kernel }) => existsSync(join(kernels, `${kernel}_kernel.cc`)))
  : [];

describe.skipIf(!canRead)('inner loops', () => {
  test('there are kernel objects', () => expect(objects).not.toEqual([]));

  const looped = objects.filter(({ kernel }) => kernel !== 'depthwise_channels');
  test.each(looped)('$isa $kernel', ({ path, isa, kernel }) => {
    const tiles = tilesOf(templatesOf(path));
    expect(tiles).not.toEqual([]);
    for (const tile of tiles) {
      const frame = frameOf(tile);
      const slow = tile.code.filter(isBackFromVector);
      expect(slow, `${tile.name}: ${listing(slow)}`).toEqual([]);
      const loops = hotLoops(tile, isa).sort((a, b) => b.share - a.share);
      const [best] = loops;
      if (best === undefined) throw new Error(`${tile.name} has no loop over its tile`);
      // A loop that also tests for borders may keep addresses on the stack, but no sums.
      for (const { code } of loops) {
        const spills = code.filter((one) => usesVectors(one) && usesStack(one, frame));
        expect(spills, `${tile.name} spills ${listing(spills)}`).toHaveLength(0);
      }
      const traffic = best.code.filter((one) => usesStack(one, frame));
      const allowed = ADDRESSES_ON_STACK[`${isa} ${kernel}`] ?? 0;
      expect(traffic.length, `${tile.name}: ${listing(traffic)}`).toBeLessThanOrEqual(allowed);
      const least = tile.name.includes('CutRow') ? CUT_ROW_SHARE : (LEAST_SHARE[kernel] ?? 0);
      expect(best.share, `${tile.name}\n${listing(best.code)}`).toBeGreaterThan(least);
    }
  });

  // 3×3 and 5×5 windows are unrolled whole, rows and all: there is no loop to find.
  const pixels = objects.filter(({ kernel }) => kernel === 'depthwise_pixels');
  test.each(pixels)('$isa $kernel, unrolled windows', ({ path, isa }) => {
    const squares = templatesOf(path).filter(({ name }) => name === 'square');
    expect(squares).toHaveLength(8);
    for (const square of squares) {
      const frame = frameOf(square);
      const traffic = square.code.filter((one) => usesVectors(one) && usesStack(one, frame));
      const most = SQUARE_VECTORS_ON_STACK[isa] ?? 0;
      expect(traffic.length, `square<${square.args}>: ${listing(traffic)}`).toBeLessThanOrEqual(
        most,
      );
    }
  });

  const channels = objects.filter(({ kernel }) => kernel === 'depthwise_channels');
  test.each(channels)('$isa $kernel, unrolled windows', ({ path }) => {
    const windows = templatesOf(path).filter(({ code }) => code.filter(isArithmetic).length >= 27);
    expect(windows.length).toBeGreaterThan(24);
    for (const { name, args, code } of windows) {
      const [rows = 0, pixels = 0] = args.split(', ').map(Number);
      const traffic = code.filter((one) => usesVectors(one) && usesStack(one, frameOf({ code })));
      expect(traffic.length, `${name}<${args}>: ${listing(traffic)}`).toBeLessThanOrEqual(
        rows * pixels + OUTPUT_ON_STACK,
      );
    }
  });
});
