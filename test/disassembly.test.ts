import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Instruction, loopsOf } from './disassembly/loops.js';

// Whether a compiler keeps a tile in registers is not written in the source: another release, or an
// innocent change of a loop, and it spills, at half the speed. So the inner loops of each kernel's
// full tile are read as the compiler made them.

// Of another build: GEMMCONV_BUILD=build/clang npx vitest run test/disassembly
const root = process.env.GEMMCONV_BUILD ?? fileURLToPath(new URL('../build', import.meta.url));
const build = join(root, 'CMakeFiles');
const kernels = fileURLToPath(new URL('../native/kernel/', import.meta.url));
const objdumpExists = spawnSync('objdump', ['--version']).error === undefined;
const isArm = process.arch === 'arm64';
const canRead = objdumpExists && (isArm || process.arch === 'x64');

/** Kernels that only copy. */
const COPYING: readonly string[] = ['strip', 'channel_vectors'];
/** Those without a loop over the steps of a tile. */
const UNROLLED: readonly string[] = ['depthwise_channels', 'depthwise_planes', 'direct_groups'];

/** By kernel, or instruction set, or both and a tile; none where nothing is said. */
type Counts = Readonly<Record<string, number>>;

/** By the side of a square window, and the step between its outputs, then by instruction set. */
type WindowCounts = Readonly<Record<string, Counts>>;

/** What the inner loops of a compiler are like. */
interface Expected {
  /**
   * Least share of multiply-adds (of multiplications and additions, without FMA) in the instructions
   * of a kernel's best loop: the least of all instruction sets, less a tenth. What is left are loads,
   * broadcasts, addresses and prefetches.
   */
  readonly share: Counts;
  /** The same for rows of taps that are cut by a border: a test and a jump for each pixel besides. */
  readonly cutRowShare: number;
  /** Most addresses that the best loop reads from the stack. */
  readonly addresses: Counts;
  /** Most vectors that any loop over a tile keeps on the stack. */
  readonly vectors: Counts;
  /** Most addresses that a tile gets back from vector registers, which wait for the multiply-adds. */
  readonly fromVectors: number;
  /** Of a row of a square window with pixels on the lanes, most vectors from the stack. */
  readonly squareVectors: WindowCounts;
  /** The same of whole planes. */
  readonly planeVectors: WindowCounts;
  /**
   * Least number of unrolled windows with channels on the lanes; what is inlined is not seen. With few
   * registers there are but single rows.
   */
  readonly channelWindows: Counts;
  /** Of these, most vectors to and from the stack besides each sum once, on its way to be finished. */
  readonly outputVectors: number;
}

const GCC: Expected = {
  share: {
    gemm: 0.43,
    direct: 0.36,
    direct_pixels: 0.4,
    direct_rows: 0.36,
    depthwise_pixels: 0.3,
    winograd: 0.39,
  },
  cutRowShare: 0.25,
  addresses: { 'avx512 depthwise_pixels 4×4': 4 },
  vectors: {},
  fromVectors: 0,
  // The nine or 25 weights and three or five masks that no register is left for, of columns side by
  // side once for each; a sum on its way to be finished, one of SSE2's products.
  squareVectors: { 3: { avx2: 7, baseline: 6 }, 5: { avx512: 11, avx2: 30, baseline: 30 } },
  // Every other pixel two vectors side by side, where there are registers for the rest.
  planeVectors: {
    3: { avx2: 5, baseline: 6 },
    '3 by two': { avx2: 20, baseline: 8 },
    5: { avx512: 12, avx2: 27, baseline: 30 },
    '5 by two': { avx512: 16, avx2: 48, baseline: 35 },
    '2 by two': { avx2: 3 },
  },
  channelWindows: { avx512: 25, avx2: 12, baseline: 12 },
  // A residual's, and what describes the output.
  outputVectors: 5,
};

/** Clang 19, on x64. It hands sums over by the stack, one vector after the other. */
const CLANG: Expected = {
  ...GCC,
  // AVX2's tile of 1×1 layers copies what it reads: 0.43.
  share: { ...GCC.share, gemm: 0.38, direct_pixels: 0.3 },
  // Where three taps are cut at their sides: 0.18.
  cutRowShare: 0.16,
  addresses: {
    'avx512 direct 14×2': 3,
    'avx2 direct_pixels 4×3': 2,
    'avx2 direct_rows 4×3': 2,
    // Where a step takes 27 cycles; two of them for the outputs that are asked for.
    'avx512 direct_pixels 9×3': 11,
  },
  vectors: {
    'avx2 direct_pixels 4×3': 2,
    'avx2 direct_rows 4×3': 2,
    'avx512 direct_pixels 9×3': 2,
  },
  fromVectors: 1,
  squareVectors: {
    3: { avx2: 11, baseline: 5 },
    // On AVX2 of two columns, with the weights that they share.
    5: { avx512: 13, avx2: 38, baseline: 27 },
  },
  planeVectors: {
    3: { avx2: 6, baseline: 6 },
    '3 by two': { avx2: 20, baseline: 7 },
    5: { avx512: 13, avx2: 28, baseline: 28 },
    '5 by two': { avx512: 28, avx2: 75, baseline: 30 },
    '2 by two': { avx2: 1 },
  },
  outputVectors: 64,
};

/** A function template that computes a register tile of so many rows and vectors. */
interface Tile {
  readonly name: string;
  readonly rows: number;
  readonly vectors: number;
  readonly code: readonly Instruction[];
}

interface Loop {
  readonly code: readonly Instruction[];
  /** Without what the compiler moved out of its way, since it runs once in many steps. */
  readonly straight: readonly Instruction[];
  readonly share: number;
}

const isArithmetic = ({ text }: Instruction) =>
  /^(vfn?m(add|sub)\d+ps|mulps|addps|fml[as])\s/.test(text);
const usesVectors = ({ text }: Instruction) => /%[xyz]mm\d|\b[qv]\d/.test(text);

/** An address that was kept in a vector register. */
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
    const head = /^[0-9a-f]+ <.*?(\w+)<((?:\w+, )?\d+, \d+.*?|(?:true|false), \d+)>\(.*>:$/m.exec(
      section,
    );
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

/** Those that compute a tile, each at its largest, of any shape; what only finishes one has no loop. */
function tilesOf(templates: readonly Template[]): Tile[] {
  const largest = new Map<string, Tile[]>();
  for (const { name, args, code } of templates) {
    const numbers = /^(\d+), (\d+)(.*)$/.exec(args);
    if (numbers === null || name.startsWith('finish')) continue;
    const [, rows, vectors, rest] = numbers;
    const tile = { name: `${name}<${args}>`, rows: Number(rows), vectors: Number(vectors), code };
    const key = `${name}${rest}`;
    const [known, ...others] = largest.get(key) ?? [];
    const more = tile.rows * tile.vectors - (known ? known.rows * known.vectors : 0);
    if (known === undefined || more > 0) largest.set(key, [tile]);
    else if (more === 0) largest.set(key, [known, ...others, tile]);
  }
  return [...largest.values()].flat();
}

function longestStretch(loop: ReadonlySet<number>): number[] {
  let longest: number[] = [];
  let current: number[] = [];
  for (const index of [...loop].sort((a, b) => a - b)) {
    if (index - 1 !== current.at(-1)) current = [];
    current.push(index);
    if (current.length > longest.length) longest = current;
  }
  return longest;
}

/** The innermost loops that compute at least one step of the whole tile. */
function hotLoops(tile: Tile, isa: string): Loop[] {
  const step = tile.rows * tile.vectors * (isa === 'baseline' && !isArm ? 2 : 1);
  const loops = loopsOf(tile.code);
  return loops
    .filter((loop) => !loops.some((other) => other.size < loop.size && isWithin(other, loop)))
    .map((loop) => {
      const code = tile.code.filter((_, index) => loop.has(index));
      const straight = longestStretch(loop).map((index) => tile.code[index] as Instruction);
      return { code, straight, share: straight.filter(isArithmetic).length / straight.length };
    })
    .filter(({ code }) => code.filter(isArithmetic).length >= step);
}

function isWithin(inner: ReadonlySet<number>, outer: ReadonlySet<number>): boolean {
  return [...inner].every((index) => outer.has(index));
}

function listing(code: readonly Instruction[]): string {
  return code.map(({ text }) => text).join('\n');
}

/** As CMake has found it. */
function isByClang(): boolean {
  const [file] = readdirSync(build, { recursive: true, encoding: 'utf8' }).filter(
    (path) => basename(path) === 'CMakeCXXCompiler.cmake',
  );
  return (
    file !== undefined && /COMPILER_ID ".*Clang"/.test(readFileSync(join(build, file), 'utf8'))
  );
}

/** In each of its loops, vectors to and from the stack. */
function expectOnStack(template: Template, loops: readonly Loop[], most = 0): void {
  const name = `${template.name}<${template.args}>`;
  expect(loops, name).not.toEqual([]);
  for (const { code } of loops) {
    const traffic = code.filter((one) => usesVectors(one) && usesStack(one, frameOf(template)));
    expect(traffic.length, `${name}: ${listing(traffic)}`).toBeLessThanOrEqual(most);
  }
}

const expected = canRead && isByClang() ? CLANG : GCC;
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

  const looped = objects.filter(
    ({ kernel, isa }) => !UNROLLED.includes(kernel) && (kernel !== 'direct_rows' || isa === 'avx2'),
  );
  test.each(looped)('$isa $kernel', ({ path, isa, kernel }) => {
    const tiles = tilesOf(templatesOf(path));
    expect(tiles).not.toEqual([]);
    for (const tile of tiles) {
      const frame = frameOf(tile);
      const slow = tile.code.filter(isBackFromVector);
      expect(slow.length, `${tile.name}: ${listing(slow)}`).toBeLessThanOrEqual(
        expected.fromVectors,
      );
      const loops = hotLoops(tile, isa).sort((a, b) => b.share - a.share);
      const [best] = loops;
      if (best === undefined) throw new Error(`${tile.name} has no loop over its tile`);
      const key = `${isa} ${kernel} ${tile.rows}×${tile.vectors}`;
      // A loop that also tests for borders may keep addresses on the stack, but no sums.
      for (const { code } of loops) {
        const spills = code.filter((one) => usesVectors(one) && usesStack(one, frame));
        expect(spills.length, `${tile.name} spills ${listing(spills)}`).toBeLessThanOrEqual(
          expected.vectors[key] ?? 0,
        );
      }
      const traffic = best.straight.filter((one) => usesStack(one, frame));
      const allowed = expected.addresses[key] ?? 0;
      expect(traffic.length, `${tile.name}: ${listing(traffic)}`).toBeLessThanOrEqual(allowed);
      const isCut = /CutRow|Cut::sides|Cut\)2/.test(tile.name);
      const least = isCut ? expected.cutRowShare : (expected.share[kernel] ?? 0);
      expect(best.share, `${tile.name}\n${listing(best.straight)}`).toBeGreaterThan(least);
    }
  });

  // 3×3 and 5×5 windows: a loop goes from row to row. Weights may lie on the stack, sums may not.
  const pixels = objects.filter(({ kernel }) => kernel === 'depthwise_pixels');
  test.each(pixels)('$isa $kernel, square windows', ({ path, isa }) => {
    const squares = templatesOf(path).filter(({ name }) => name === 'square');
    expect(squares).toHaveLength(4);
    for (const { name, args, code } of squares) {
      const side = Number(args.split(', ')[1]);
      const loops = hotLoops({ name, rows: side, vectors: side, code }, isa);
      expectOnStack({ name, args, code }, loops, expected.squareVectors[side]?.[isa]);
    }
  });

  const planes = objects.filter(({ kernel }) => kernel === 'depthwise_planes');
  test.each(planes)('$isa $kernel, planes', ({ path, isa }) => {
    const windows = templatesOf(path).filter(({ name }) => name === 'planes');
    expect(windows.length).toBeGreaterThanOrEqual(4);
    for (const { name, args, code } of windows) {
      const [side = 0, step, beside = 0] = args.split(', ').map(Number);
      const loops = hotLoops({ name, rows: side * side, vectors: beside, code }, isa);
      const window = step === 2 ? `${side} by two` : side;
      expectOnStack({ name, args, code }, loops, expected.planeVectors[window]?.[isa]);
    }
  });

  // Of vectors too short to hold several groups there is no such kernel.
  const groups = objects.filter(
    ({ kernel, isa }) => kernel === 'direct_groups' && isa !== 'baseline',
  );
  test.skipIf(isArm).each(groups)('$isa $kernel, windows three wide', ({ path }) => {
    const tiles = templatesOf(path).filter(({ name }) => name === 'tile');
    expect(tiles).toHaveLength(2);
    for (const { name, args, code } of tiles) {
      const [pixels = 0, step = 0] = args.split(', ').map(Number);
      const multiplies = ({ text }: Instruction) => text.startsWith('vfmadd');
      expect(code.filter(multiplies)).toHaveLength(3 * pixels);
      // Each pixel is permuted once.
      const permutations = code.filter(({ text }) => text.startsWith('vpermps'));
      expect(permutations).toHaveLength((pixels - 1) * step + 3);
      const traffic = code.filter((one) => usesVectors(one) && usesStack(one, frameOf({ code })));
      expect(traffic, `${name}<${args}>: ${listing(traffic)}`).toEqual([]);
    }
  });

  const channels = objects.filter(({ kernel }) => kernel === 'depthwise_channels');
  test.each(channels)('$isa $kernel, unrolled windows', ({ path, isa }) => {
    const windows = templatesOf(path).filter(
      ({ name, code }) => name === 'row_tile' || code.filter(isArithmetic).length >= 27,
    );
    expect(windows.length).toBeGreaterThanOrEqual(
      expected.channelWindows[isa] ?? Number.POSITIVE_INFINITY,
    );
    for (const { name, args, code } of windows) {
      const sizes = args.split(', ').map(Number);
      const [rows = 0, pixels = 0] = name === 'row_tile' ? [1, ...sizes] : sizes;
      const traffic = code.filter((one) => usesVectors(one) && usesStack(one, frameOf({ code })));
      // In single rows from seven pixels on, the fastest nevertheless, weights lie there, too.
      const weights = name === 'row_tile' && pixels >= 7 ? 2 * pixels : 0;
      expect(traffic.length, `${name}<${args}>: ${listing(traffic)}`).toBeLessThanOrEqual(
        rows * pixels + weights + expected.outputVectors,
      );
    }
  });
});
