import { invalidType, invalidValue, outOfRange } from './errors.js';
import type { Pads, Pair } from './geometry.js';
import { ACTIVATIONS, type Layer } from './problem.js';
import { isArray, isRecord } from './tensor.js';
import { EVERYTHING, NOTHING, TRANSFERABLES } from './transfer.js';

/** An object whose properties have yet to be looked at. */
export type Fields = Readonly<Record<string, unknown>>;

export const NONE: Fields = Object.freeze({});

/** Accepts an object of options, or undefined for none, whose every own key is in `names`. */
export function asOptions(value: unknown, names: readonly string[], argument = 'options'): Fields {
  return value === undefined ? NONE : asRecord(value, names, argument);
}

function asRecord(value: unknown, names: readonly string[], argument: string): Fields {
  if (!isRecord(value)) throw invalidType(argument, 'an object', value);
  for (const key of Object.keys(value)) {
    if (!names.includes(key)) throw unknownName(key, names, argument);
  }
  return value;
}

function unknownName(key: string, names: readonly string[], argument: string): TypeError {
  const known = names.map((name) => `'${name}'`).join(', ');
  const likely = likeliest(key, names);
  const hint = likely === undefined ? '' : `did you mean '${likely}'?`;
  return invalidType(`the property names of ${argument}`, `only ${known}`, key, hint);
}

const MAX_TYPOS = 2;

/** The known name that `key` begins (`pad`), or else the one fewest typos away. */
function likeliest(key: string, names: readonly string[]): string | undefined {
  const lower = key.toLowerCase();
  const longest = Math.max(...names.map((name) => name.length));
  if (lower.length > longest + MAX_TYPOS) return undefined;
  if (lower.length > 2) {
    const begun = names.find((name) => name.toLowerCase().startsWith(lower));
    if (begun !== undefined) return begun;
  }
  let best: string | undefined;
  let fewest = Math.min(MAX_TYPOS, Math.floor(lower.length / 2)) + 1;
  for (const name of names) {
    const typos = editDistance(lower, name.toLowerCase());
    if (typos < fewest) {
      best = name;
      fewest = typos;
    }
  }
  return best;
}

/** Levenshtein: insertions, deletions and substitutions from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substituted = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const shifted = Math.min(above[column] ?? 0, current[column - 1] ?? 0) + 1;
      current.push(Math.min(substituted, shifted));
    }
    above = current;
  }
  return above[b.length] ?? 0;
}

export function readInteger(
  value: unknown,
  min: number,
  argument: string,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw invalidType(argument, 'a number', value);
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const bounds = max < Number.MAX_SAFE_INTEGER ? `from ${min} to ${max}` : `of at least ${min}`;
    throw outOfRange(argument, `an integer ${bounds}`, value);
  }
  return value + 0; // -0 becomes 0
}

/** Index of `value` in `choices`. */
export function readChoice(value: unknown, choices: readonly string[], argument: string): number {
  const expected = `one of ${choices.map((choice) => `'${choice}'`).join(', ')}`;
  if (typeof value !== 'string') throw invalidType(argument, expected, value);
  const index = choices.indexOf(value);
  if (index < 0) throw invalidValue(argument, expected, value);
  return index;
}

/** Which of the tensors are given away: bits, see `TRANSFERABLES`. */
export function readTransfer(value: unknown, argument: string): number {
  if (typeof value === 'boolean') return value ? EVERYTHING : NOTHING;
  const expected = `a boolean or a list of ${TRANSFERABLES.map((name) => `'${name}'`).join(', ')}`;
  if (!isArray(value)) throw invalidType(argument, expected, value);
  const { length } = value;
  if (![0, 1, 2, 3].includes(length)) throw invalidValue(argument, expected, value);
  let given = NOTHING;
  for (let i = 0; i < length; i++) {
    given |= 1 << readChoice(value[i], TRANSFERABLES, `${argument}[${i}]`);
  }
  return given;
}

/** n or [height, width]. */
export function readPair(value: unknown, min: number, argument: string): Pair {
  if (!isArray(value)) {
    if (typeof value !== 'number') {
      throw invalidType(argument, 'a number or [height, width]', value);
    }
    const both = readInteger(value, min, argument);
    return [both, both];
  }
  if (value.length !== 2) throw invalidValue(argument, 'a number or [height, width]', value);
  return [
    readInteger(value[0], min, `${argument}[0]`),
    readInteger(value[1], min, `${argument}[1]`),
  ];
}

const NO_PADS: Pads = { top: 0, left: 0, bottom: 0, right: 0 };
const SIDES = ['top', 'left', 'bottom', 'right'] as const;
const PADDING_NAMES = ['valid', 'same', 'same-lower'] as const;

export function readPadding(value: unknown, argument: string): Layer['padding'] {
  if (typeof value === 'string') {
    const name = PADDING_NAMES[readChoice(value, PADDING_NAMES, argument)];
    return name === undefined || name === 'valid' ? NO_PADS : name;
  }
  if (typeof value === 'number' || isArray(value)) {
    const [vertical, horizontal] = readPair(value, 0, argument);
    return { top: vertical, left: horizontal, bottom: vertical, right: horizontal };
  }
  if (!isRecord(value)) {
    const forms = `a number, [height, width], { top, left, bottom, right } or a name`;
    throw invalidType(argument, forms, value);
  }
  const fields = asRecord(value, SIDES, argument);
  return {
    top: readInteger(fields.top, 0, `${argument}.top`),
    left: readInteger(fields.left, 0, `${argument}.left`),
    bottom: readInteger(fields.bottom, 0, `${argument}.bottom`),
    right: readInteger(fields.right, 0, `${argument}.right`),
  };
}

type ActivationFields = Pick<Layer, 'activation' | 'activationMin' | 'activationMax'>;

/** Those given as a plain name; the native core takes the first three as clamps. */
const NAMED_ACTIVATIONS = ACTIVATIONS.filter((name) => name !== 'clamp' && name !== 'leakyRelu');
const BOUNDS: Readonly<Record<string, Pair>> = {
  none: [-Infinity, Infinity],
  relu: [0, Infinity],
  relu6: [0, 6],
};
const FORMED_ACTIVATIONS = ['clamp', 'leakyRelu'] as const;

export function readActivation(value: unknown, argument: string): ActivationFields {
  if (typeof value === 'string') {
    if (value === 'clamp') throw invalidValue(argument, `{ type: 'clamp', min, max }`, value);
    if (value === 'leakyRelu') throw invalidValue(argument, `{ type: 'leakyRelu', alpha }`, value);
    readChoice(value, NAMED_ACTIVATIONS, argument);
    const [min, max] = BOUNDS[value] ?? [0, 0];
    return activationFields(value, min, max);
  }
  const forms = 'a name, { type, min, max } or { type, alpha }';
  if (!isRecord(value)) throw invalidType(argument, forms, value);
  const fields = asRecord(value, ['type', 'min', 'max', 'alpha'], argument);
  const { type, min, max, alpha } = fields;
  const isClamp = readChoice(type, FORMED_ACTIVATIONS, `${argument}.type`) === 0;
  if (isClamp) {
    absent(alpha, `${argument}.alpha`, 'a clamp');
    return readClamp(min, max, argument);
  }
  absent(min, `${argument}.min`, 'leakyRelu');
  absent(max, `${argument}.max`, 'leakyRelu');
  const slope = Math.fround(readNumber(alpha, `${argument}.alpha`));
  if (!Number.isFinite(slope)) throw outOfRange(`${argument}.alpha`, 'a finite float32', alpha);
  return activationFields('leakyRelu', slope, 0);
}

function readClamp(min: unknown, max: unknown, argument: string): ActivationFields {
  const lower = readNumber(min, `${argument}.min`);
  const upper = readNumber(max, `${argument}.max`);
  if (lower > upper) {
    throw outOfRange(`${argument}.max`, 'a bound not below min', upper, `min is ${lower}`);
  }
  return activationFields('clamp', lower, upper);
}

function absent(value: unknown, argument: string, type: string): void {
  if (value !== undefined) throw invalidType(argument, `nothing with ${type}`, value);
}

/** Any number but NaN; ±Infinity is one. */
function readNumber(value: unknown, argument: string): number {
  if (typeof value !== 'number') throw invalidType(argument, 'a number', value);
  if (Number.isNaN(value)) throw outOfRange(argument, 'a number', value);
  return value;
}

/** The core computes in float32, so the bounds are float32 too. */
function activationFields(name: string, min: number, max: number): ActivationFields {
  return {
    activation: (ACTIVATIONS as readonly string[]).indexOf(name),
    activationMin: Math.fround(min),
    activationMax: Math.fround(max),
  };
}
