import type { Algorithm, Layout } from 'gemmconv';
import { type BenchLayer, evenPads, type Pads } from './layers.js';
import { closest, EXAMPLE, UsageError } from './usage.js';

/** A layer as it is written on a command line, and how it is to be computed. */
export interface Notation {
  readonly layer: BenchLayer;
  readonly layout: Layout;
  readonly algorithm: Algorithm;
  /** Undefined where it is left to the process. */
  readonly threads: number | undefined;
}

export const GRAMMAR = `A layer is written  [n8] CxHxW -> OC [words in any order]

  3x224x224     channels, height and width of the input
  -> 64         output channels (→ will do, too)
  n8            batch of 8 (default 1)
  k7, k1x7      kernel, height x width (default 1)
  s2            stride, both ways (default 1)
  p3, p0x3      padding on both sides, height x width (default 0);
  same          … such that the output has ceil(size / stride) pixels (also same-lower, valid)
  d2            dilation, both ways (default 1)
  g32, dw       groups; dw is one for each channel (default 1)
  nhwc, nchw    layout (default nchw)
  exact, gemm, direct, depthwise, winograd
                algorithm (default auto)
  t4            threads (default: what the process uses)`;

const LAYOUTS: readonly string[] = ['nchw', 'nhwc'] satisfies Layout[];
const ALGORITHMS: readonly string[] = [
  ...(['auto', 'exact', 'gemm', 'direct', 'depthwise', 'winograd'] satisfies Algorithm[]),
];
const PADDINGS = ['same', 'same-lower', 'valid'];
const WORDS = [...LAYOUTS, ...ALGORITHMS, ...PADDINGS, 'dw'];

/** What each letter stands for, and whether it takes one number or two. */
const LETTERS: Readonly<Record<string, { readonly meaning: string; readonly most: 1 | 2 }>> = {
  n: { meaning: 'batch', most: 1 },
  k: { meaning: 'kernel', most: 2 },
  s: { meaning: 'stride', most: 1 },
  p: { meaning: 'padding', most: 2 },
  d: { meaning: 'dilation', most: 1 },
  g: { meaning: 'groups', most: 1 },
  t: { meaning: 'threads', most: 1 },
};

/** Far beyond any layer, and products of a few stay integers. */
const MOST = 2 ** 24;

type Pair = readonly [number, number];
type Settings = Map<string, Pair | string>;

/** @throws UsageError that points at the word which is wrong. */
export function parseNotation(text: string): Notation {
  const halves = /^(.*?)(->|→)(.*)$/s.exec(text);
  if (halves === null) {
    // Without quotes a shell takes the rest away: > is where to write to.
    throw new UsageError(`${quoted(text)} has no '->': a layer goes between quotes, ${EXAMPLE}`);
  }
  const [, before = '', arrow = '', after = ''] = halves;
  const left = wordsOf(before, 0);
  const right = wordsOf(after, before.length + arrow.length);
  const settings: Settings = new Map();
  for (const word of [...left, ...right]) {
    const [name, value] = readWord(text, word);
    if (settings.has(name)) throw at(text, word.at, `a second ${name}`);
    settings.set(name, value);
  }
  const shape = settings.get('CxHxW') as string | undefined;
  const filters = settings.get('OC') as string | undefined;
  if (shape === undefined) throw at(text, before.length, 'expected CxHxW before ->, say 3x224x224');
  if (filters === undefined) {
    throw at(text, before.length + arrow.length, 'expected output channels after ->, say 64');
  }
  return assemble(text, shape.split('x').map(Number), Number(filters), settings);
}

interface Word {
  readonly text: string;
  readonly at: number;
  readonly isAfterArrow: boolean;
}

function wordsOf(text: string, offset: number): Word[] {
  return [...text.matchAll(/[^\s,]+/g)].map((match) => ({
    text: match[0].toLowerCase().replaceAll('×', 'x'),
    at: offset + match.index,
    isAfterArrow: offset > 0,
  }));
}

function readWord(text: string, word: Word): readonly [name: string, value: Pair | string] {
  if (/^\d+(x\d+)*$/.test(word.text)) {
    const name = word.isAfterArrow ? 'OC' : 'CxHxW';
    const numbers = word.text.split('x').map(Number);
    if (numbers.length !== (word.isAfterArrow ? 1 : 3)) {
      throw at(text, word.at, `expected ${name}, got '${word.text}'`);
    }
    checkNumbers(text, word, numbers, name);
    return [name, word.text];
  }
  if (LAYOUTS.includes(word.text)) return ['layout', word.text];
  if (ALGORITHMS.includes(word.text)) return ['algorithm', word.text];
  if (PADDINGS.includes(word.text)) return ['padding', word.text];
  if (word.text === 'dw') return ['groups', 'dw'];
  const [, letter = '', digits = ''] = /^([a-z])(\d+(?:x\d+)?)$/.exec(word.text) ?? [];
  const kind = LETTERS[letter];
  if (kind === undefined) throw unknown(text, word);
  const numbers = digits.split('x').map(Number);
  if (numbers.length > kind.most) {
    throw at(text, word.at, `${kind.meaning} is the same both ways here: ${letter}${numbers[0]}`);
  }
  checkNumbers(text, word, numbers, kind.meaning);
  const [first = 0, second = first] = numbers;
  return [kind.meaning, [first, second]];
}

function checkNumbers(text: string, word: Word, numbers: readonly number[], name: string): void {
  const least = name === 'padding' || name === 'batch' ? 0 : 1;
  const most = name === 'threads' ? 1024 : MOST;
  if (numbers.some((value) => value < least || value > most)) {
    throw at(text, word.at, `${name} takes numbers from ${least} to ${most}`);
  }
}

function unknown(text: string, word: Word): UsageError {
  // Written out, as in kernel7 or stride=2.
  const [, letter = '', numbers] = /^([a-z])[a-z]*=?(\d+(?:x\d+)?)$/.exec(word.text) ?? [];
  const meant = letter in LETTERS ? `${letter}${numbers}` : closest(word.text, WORDS);
  const hint =
    meant === undefined
      ? 'expected, say, k3, s2, p1, same, d2, g32, dw, n8, nhwc, exact or t1'
      : `did you mean '${meant}'?`;
  return at(text, word.at, `unknown word '${word.text}': ${hint}`);
}

function assemble(
  text: string,
  [C = 0, H = 0, W = 0]: readonly number[],
  OC: number,
  settings: Settings,
): Notation {
  const pair = (name: string, otherwise: number) =>
    (settings.get(name) ?? [otherwise, otherwise]) as Pair;
  const [KH, KW] = pair('kernel', 1);
  const [stride] = pair('stride', 1);
  const [dilation] = pair('dilation', 1);
  const [batch] = pair('batch', 1);
  const groups = settings.get('groups') === 'dw' ? C : pair('groups', 1)[0];
  if (C % groups !== 0 || OC % groups !== 0) {
    throw new UsageError(
      `${quoted(text)}: ${groups} groups do not divide ${C} channels and ${OC} output channels`,
    );
  }
  const word = settings.get('padding');
  const padding =
    typeof word === 'string'
      ? namedPads(word, [H, W], [KH, KW], stride, dilation)
      : evenPads(...pair('padding', 0));
  const reach = (taps: number) => dilation * (taps - 1) + 1;
  const { top, left, bottom, right } = padding;
  if (reach(KH) > top + H + bottom || reach(KW) > left + W + right) {
    throw new UsageError(`${quoted(text)}: the kernel is larger than the padded image`);
  }
  const name = text.trim().replace(/\s+/g, ' ');
  return {
    layer: { name, batch, C, OC, H, W, KH, KW, stride, padding, dilation, groups },
    layout: (settings.get('layout') ?? 'nchw') as Layout,
    algorithm: (settings.get('algorithm') ?? 'auto') as Algorithm,
    threads: settings.has('threads') ? pair('threads', 1)[0] : undefined,
  };
}

/** The odd row or column is at the end, or with `same-lower` at the beginning. */
function namedPads(word: string, size: Pair, taps: Pair, stride: number, dilation: number): Pads {
  if (word === 'valid') return evenPads(0, 0);
  const pads = (axis: 0 | 1): Pair => {
    const outputs = Math.ceil(size[axis] / stride);
    const reach = dilation * (taps[axis] - 1) + 1;
    const total = Math.max(0, (outputs - 1) * stride + reach - size[axis]);
    const less = Math.floor(total / 2);
    return word === 'same' ? [less, total - less] : [total - less, less];
  };
  const [[top, bottom], [left, right]] = [pads(0), pads(1)];
  return { top, left, bottom, right };
}

/** The text with a mark under where it is wrong. */
function at(text: string, position: number, message: string): UsageError {
  const line = text.replace(/\s/g, ' ');
  return new UsageError(`${message}\n  ${line}\n  ${' '.repeat(position)}^`);
}

function quoted(text: string): string {
  return `'${text.trim()}'`;
}
