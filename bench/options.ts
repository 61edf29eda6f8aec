import { parseArgs } from 'node:util';
import { info } from 'gemmconv';
import { type BenchLayer, LAYERS, SEED } from './layers.js';

export interface Options {
  readonly quick: boolean;
  /** In the order of the lists; the seed layer may be among them. */
  readonly layers: readonly BenchLayer[];
  /** Of the competitors that use all threads. */
  readonly threads: number;
  /** Where to write everything as JSON. */
  readonly json: string | undefined;
}

export const HELP = `Usage: npm run bench -- [options]

Times convolution layers: plain TypeScript, this library, and the peers that are installed
(npm run bench:peers installs them). Every answer is checked before the clock starts.

  --quick            fewer repeats, no slow JavaScript rows: under a minute
  --layers <names>   only layers whose name contains one of these, separated by commas
  --threads <n>      threads of the multi-threaded columns (default: what the process may use)
  --json <file>      also write the machine and every measurement to this file
  --help             print this`;

/** A wrong command line; its message is for the user. */
export class UsageError extends Error {}

/** @returns undefined if help was asked for. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { quick, layers, threads, json, help } = parse(args);
  if (help) return undefined;
  return {
    quick: quick ?? false,
    layers: chooseLayers(layers),
    threads: readThreads(threads),
    json,
  };
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean' },
        layers: { type: 'string' },
        threads: { type: 'string' },
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

function readThreads(text: string | undefined): number {
  if (text === undefined) return info().cores;
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new UsageError(`--threads takes a number from 1 to 1024, not '${text}'`);
  }
  return threads;
}
