import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { LAYERS, SEED } from '../../bench/layers.js';
import { parseNotation } from '../../bench/notation.js';
import { root } from './markdown.js';

/** What the test does with one line of a shell block. */
export type Verdict =
  | { readonly run: readonly string[] }
  /** Looked at: its scripts, options, files and variables exist. */
  | { readonly checked: string }
  | { readonly notRun: string };

/** Commands that are not run, and why. */
const NOT_RUN: readonly (readonly [RegExp, string])[] = [
  [/^npm (install|ci|rebuild|install-scripts)\b/, 'installs'],
  [/^npm --prefix \w+ ci\b/, 'installs'],
  [/^npm test$/, 'is what runs this test'],
  [/^node \w+\.mjs$/, 'is a program of yours'],
  [/^\.ci\//, 'takes many minutes, and is run by CI'],
  [/^(cmake|qemu-aarch64-static|apt-get|sudo|docker|git) /, 'needs other tools than Node'],
];

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

const { scripts, bin } = JSON.parse(read('package.json')) as {
  readonly scripts: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
};

/** Throws where a command names what does not exist, or where nobody has said what to do with it. */
export function judge(commandLine: string): Verdict {
  const { variables, command } = split(commandLine);
  for (const name of variables) {
    if (!isKnown(name)) throw new Error(`Nobody reads the variable ${name}`);
  }
  const [, script, args = ''] = /^npm run ([\w:-]+)(?: --(?: (.*))?)?$/.exec(command) ?? [];
  if (script !== undefined) return judgeScript(script, words(args));
  const pattern = /^npx vitest run (\S+)$/.exec(command)?.[1];
  if (pattern !== undefined) return judgeTest(pattern);
  const ours = /^node node_modules\/gemmconv\/(\S+)$/.exec(command)?.[1];
  if (ours !== undefined) {
    if (!existsSync(join(root, ours))) throw new Error(`The package has no ${ours}`);
    return { checked: 'takes a minute; it exists' };
  }
  const cli = /^npx gemmconv(?: (.*))?$/.exec(command);
  if (cli !== null) return judgeCli(words(cli[1] ?? ''));
  const reason = NOT_RUN.find(([known]) => known.test(command))?.[1];
  if (reason === undefined) throw new Error(`Nobody has said what to do with \`${command}\``);
  return { notRun: reason };
}

/** The commands of a block: comments dropped, continued lines joined, `&&` taken apart. */
export function commandsOf(code: string): string[] {
  return code
    .replace(/\s*\\\n\s*/g, ' ')
    .split('\n')
    .flatMap((line) => line.replace(/(^|\s)#.*$/, '').split('&&'))
    .map((command) => command.trim())
    .filter((command) => command !== '');
}

function split(commandLine: string): { variables: string[]; command: string } {
  const [prefix = ''] = /^(\w+=\S* +)*/.exec(commandLine) ?? [];
  const variables = [...prefix.matchAll(/(\w+)=/g)].map(([, name]) => name as string);
  return { variables, command: commandLine.slice(prefix.length) };
}

function judgeScript(script: string, args: readonly string[]): Verdict {
  if (!(script in scripts)) throw new Error(`package.json has no script '${script}'`);
  if (script === 'bench' || script === 'bench:peers') checkBenchArguments(args);
  return { checked: 'takes long; its name and options exist' };
}

/** As bench/options.ts declares them; it cannot be imported here, as it imports the built package. */
const BENCH_OPTIONS: ParseArgsConfig['options'] = Object.fromEntries(
  [...read('bench/options.ts').matchAll(/^ +(\w+): \{ type: '(boolean|string)' \},$/gm)].map(
    ([, name, type]) => [name as string, { type: type as 'boolean' | 'string' }],
  ),
);

function checkBenchArguments(args: readonly string[]): void {
  const command = { args: [...args], options: BENCH_OPTIONS, allowPositionals: true };
  const { values, positionals } = parseArgs(command);
  for (const text of positionals) parseNotation(text);
  const { layers = '', isa = 'baseline' } = values as Readonly<Record<string, string>>;
  for (const part of layers === 'all' ? [] : layers.split(',')) {
    if ([SEED, ...LAYERS].some(({ name }) => name.includes(part))) continue;
    throw new Error(`No layer's name contains '${part}'`);
  }
  if (!['baseline', 'avx2', 'avx512'].includes(isa)) throw new Error(`No ISA '${isa}'`);
}

function judgeTest(pattern: string): Verdict {
  const exists = ['', '.test.ts', 's.test.ts'].some((end) => existsSync(join(root, pattern + end)));
  if (!exists) throw new Error(`No test is called ${pattern}`);
  return { checked: 'is a test of its own' };
}

function judgeCli(args: readonly string[]): Verdict {
  const script = bin?.gemmconv;
  if (script === undefined) throw new Error('package.json has no command gemmconv');
  if (args[0] === 'bench') {
    checkBenchArguments(args.slice(1));
    return { checked: 'takes long; its options exist' };
  }
  return { run: [process.execPath, join(root, script), ...args] };
}

function words(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  );
}

const READERS = ['lib/settings.ts', 'test/exact.test.ts', 'test/hostile.test.ts', 'test/drawn.ts'];

function isKnown(variable: string): boolean {
  return READERS.some((file) => read(file).includes(variable));
}
