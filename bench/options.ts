import { parseArgs } from 'node:util';
import { info } from 'gemmconv';
import { type BenchLayer, LAYERS, SEED } from './layers.js';

export interface Options {
  /** What is compared: us with others, our algorithms, new output memory with used, one idea with
   * the next. */
  readonly subject: 'drivers' | 'algorithms' | 'fresh' | 'ladder';
  readonly quick: boolean;
  /** Instruction set to use; undefined for the best, or what GEMMCONV_ISA says. */
  readonly isa: string | undefined;
  /** In the order of the lists; the seed layer may be among them. */
  readonly layers: readonly BenchLayer[];
  /** Of the competitors that use all threads; of all algorithms. */
  readonly threads: number;
  /** Where to write everything as JSON. */
  readonly json: string | undefined;
}

/** Every idea helps it, and the slowest way takes half a second. */
const LADDER_LAYERS = LAYERS.filter(({ name }) => name === 'r50_3x3_64-64@56');

export const HELP = `Usage: npm run bench -- [options]

Times convolution layers: plain TypeScript, this library, and the peers that are installed
(npm run bench:peers installs them). Every answer is checked before the clock starts.

  --algorithms       instead: every algorithm of this library, in both layouts, on one thread,
                     and whether 'auto' and 'exact' chose well
  --fresh            instead: what a new output array costs, on one thread
  --ladder           instead: one layer of ResNet-50, from seven loops to all that this library
                     does, one idea at a time
  --quick            fewer repeats, no slow JavaScript rows: under a minute
  --layers <names>   only layers whose name contains one of these, separated by commas
  --threads <n>      threads of the multi-threaded columns (default: what the process may use)
  --isa <name>       instruction set to use: ${info().availableIsas.join(', ')}
  --json <file>      also write the machine and every measurement to this file
  --help             print this`;

/** A wrong command line; its message is for the user. */
export class UsageError extends Error {}

/** @returns undefined if help was asked for. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { algorithms, fresh, ladder, quick, layers, threads, isa, json, help } = parse(args);
  if (help) return undefined;
  return {
    subject: algorithms ? 'algorithms' : fresh ? 'fresh' : ladder ? 'ladder' : 'drivers',
    quick: quick ?? false,
    isa: readIsa(isa),
    layers: ladder && layers === undefined ? LADDER_LAYERS : chooseLayers(layers),
    threads: readThreads(threads, algorithms || fresh ? 1 : info().cores),
    json,
  };
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        algorithms: { type: 'boolean' },
        fresh: { type: 'boolean' },
        ladder: { type: 'boolean' },
        quick: { type: 'boolean' },
        layers: { type: 'string' },
        threads: { type: 'string' },
        isa: { type: 'string' },
        json: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function chooseLayers(names: string | undefined): BenchLayer[] {
  const all = [SEED, ...LAYERS];
  if (names === undefined) return all;
  const parts = names.split(',').map((part) => part.trim());
  for (const part of parts) {
    if (part === '' || !all.some(({ name }) => name.includes(part))) {
      const known = all.map(({ name }) => `  ${name}`).join('\n');
      throw new UsageError(`No layer's name contains '${part}'. There are:\n${known}`);
    }
  }
  return all.filter(({ name }) => parts.some((part) => name.includes(part)));
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
