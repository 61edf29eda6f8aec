import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { info } from 'gemmconv';
import { type BenchLayer, LAYERS, SEED } from './layers.js';
import { GRAMMAR, parseNotation } from './notation.js';
import { parseCommandLine, UsageError } from './usage.js';

/** What can be compared, besides the drivers with one another. */
const SUBJECTS = ['algorithms', 'fresh', 'ladder', 'predictions'] as const;

export interface Options {
  /** Us with others; our algorithms; new output memory with used; one idea with the next; what the
   * cost model expects with what is measured. */
  readonly subject: 'drivers' | (typeof SUBJECTS)[number];
  readonly quick: boolean;
  /** Instruction set to use; undefined for the best, or what GEMMCONV_ISA says. */
  readonly isa: string | undefined;
  /** In the order of the lists; the seed layer may be among them. */
  readonly layers: readonly BenchLayer[];
  /** Of the competitors that use all threads; of all algorithms. */
  readonly threads: number;
  /** Where to write everything as JSON. */
  readonly json: string | undefined;
  /** Where to write it as a page. */
  readonly report: string | undefined;
  /** As it was typed, for a shell. */
  readonly command: string;
}

/** Who runs the bench: the repository's script, or the package's command. */
export interface Program {
  /** As one types it. */
  readonly name: string;
  /** What is timed when no layers are named. */
  readonly layers: readonly BenchLayer[];
  readonly layersAre: string;
}

/** Every idea helps it, and the slowest way takes half a second. */
const LADDER_LAYERS = LAYERS.filter(({ name }) => name === 'r50_3x3_64-64@56');

export function helpFor({ name, layersAre }: Program): string {
  return `Usage: ${name} [options] ["3x224x224 -> 64 k7 s2 p3" ...]

Times convolution layers: plain TypeScript, this library, and the peers that are installed
(onnxruntime-node; tfjs-wasm). Every answer is checked before the clock starts. Without layers of
your own, times ${layersAre}.

  --report <file>    also write a page with tables and plots to this file
  --json <file>      also write the machine and every measurement to this file
  --quick            fewer repeats, plain JavaScript on small layers alone
  --layers <names>   layers of the list whose name contains one of these, separated by commas
                     (all for all of them)
  --threads <n>      threads of the multi-threaded columns (default: what the process may use)
  --isa <name>       instruction set to use: ${info().availableIsas.join(', ')}
  --help             print this

Other things to time:
  --algorithms       every algorithm of this library, in both layouts, on one thread, and whether
                     'auto' and 'exact' chose well
  --predictions      what the plan's cost model expects beside what is measured
  --fresh            what a new output array costs, on one thread
  --ladder           one layer of ResNet-50, from seven loops to all that this library does, one
                     idea at a time

${GRAMMAR}
The bench times all in nchw, with algorithm auto.`;
}

/** @returns undefined if help was asked for. */
export function readOptions(args: readonly string[], program: Program): Options | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const chosen = SUBJECTS.filter((subject) => values[subject]);
  if (chosen.length > 1) {
    throw new UsageError(`--${chosen[0]} and --${chosen[1]} are two things: one at a time`);
  }
  const subject = chosen[0] ?? 'drivers';
  const { layers, threads, isa, json, report, quick } = values;
  if (report !== undefined && subject !== 'drivers') {
    throw new UsageError(`--report does not go with --${subject}`);
  }
  if (json !== undefined && (subject === 'fresh' || subject === 'ladder')) {
    throw new UsageError(`--json does not go with --${subject}`);
  }
  const otherwise = subject === 'ladder' ? LADDER_LAYERS : program.layers;
  const isSerial = subject !== 'drivers' && subject !== 'ladder';
  return {
    ...{ subject, quick: quick ?? false },
    json: writable(json),
    report: writable(report),
    command: [program.name, ...args.map(quotedForShell)].join(' '),
    isa: readIsa(isa),
    layers: chooseLayers(layers, positionals, otherwise),
    threads: readThreads(threads, isSerial ? 1 : info().cores),
  };
}

const OPTIONS = {
  algorithms: { type: 'boolean' },
  fresh: { type: 'boolean' },
  ladder: { type: 'boolean' },
  predictions: { type: 'boolean' },
  quick: { type: 'boolean' },
  layers: { type: 'string' },
  threads: { type: 'string' },
  isa: { type: 'string' },
  json: { type: 'string' },
  report: { type: 'string' },
  help: { type: 'boolean' },
} as const;

function parse(args: readonly string[]) {
  return parseCommandLine({ args: [...args], options: OPTIONS, allowPositionals: true });
}

function chooseLayers(
  names: string | undefined,
  notations: readonly string[],
  otherwise: readonly BenchLayer[],
): BenchLayer[] {
  const all = [SEED, ...LAYERS];
  const own = notations.map((text) => {
    if (all.some(({ name }) => name.includes(text))) {
      throw new UsageError(`The name of a layer goes to --layers: --layers ${text}`);
    }
    const { layer, layout, algorithm, threads } = parseNotation(text);
    if (layout === 'nchw' && algorithm === 'auto' && threads === undefined) return layer;
    const hint = 'threads go to --threads, and layouts and algorithms to plan --measure';
    throw new UsageError(`The bench times '${layer.name}' in nchw, with auto: ${hint}`);
  });
  if (names === undefined) return own.length > 0 ? own : [...otherwise];
  if (names === 'all') return [...all, ...own];
  const parts = names.split(',').map((part) => part.trim());
  for (const part of parts) {
    if (part === '' || !all.some(({ name }) => name.includes(part))) {
      const known = all.map(({ name }) => `  ${name}`).join('\n');
      throw new UsageError(`No layer's name contains '${part}'. There are:\n${known}`);
    }
  }
  return [...all.filter(({ name }) => parts.some((part) => name.includes(part))), ...own];
}

/** Better told now than after the minutes that measuring takes. */
function writable(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    const path = resolve(file);
    const there = statSync(path, { throwIfNoEntry: false });
    if (there?.isDirectory()) throw new Error('it is a folder');
    accessSync(there === undefined ? dirname(path) : path, constants.W_OK);
    return file;
  } catch (error) {
    throw new UsageError(`'${file}' cannot be written: ${(error as Error).message}`);
  }
}

function quotedForShell(word: string): string {
  return /^[\w./:@=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function readIsa(name: string | undefined): string | undefined {
  const { availableIsas } = info();
  if (name === undefined || availableIsas.includes(name)) return name;
  throw new UsageError(`--isa takes one of ${availableIsas.join(', ')}, not '${name}'`);
}

function readThreads(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new UsageError(`--threads takes a number from 1 to 1024, not '${text}'`);
  }
  return threads;
}
