import { lengthOf, typedArrayName } from './intrinsics.js';

/**
 * Every error a caller can provoke has one shape: `Expected <what> for <argument>, received
 * <value>`, and one of Node's codes.
 *
 * - `ERR_INVALID_ARG_TYPE`, a TypeError: the wrong kind of value, or an option nobody knows.
 * - `ERR_INVALID_ARG_VALUE`, a RangeError: the right kind, but not one of the allowed values, or
 *   not fitting the other arguments.
 * - `ERR_OUT_OF_RANGE`, a RangeError: a number beyond its bounds.
 * - `ERR_INVALID_STATE`, an Error: the object is no longer usable.
 * - `ERR_MEMORY_ALLOCATION_FAILED`, a RangeError: there is not enough memory.
 * - `ERR_GEMMCONV_QUEUE_FULL`, an Error: too many calls are pending (see `setLimits`).
 */
export type ErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_INVALID_STATE'
  | 'ERR_MEMORY_ALLOCATION_FAILED'
  | 'ERR_GEMMCONV_QUEUE_FULL';

export function invalidType(argument: string, expected: string, received: unknown, hint = '') {
  return coded(new TypeError(sentence(argument, expected, received, hint)), 'ERR_INVALID_ARG_TYPE');
}

export function invalidValue(argument: string, expected: string, received: unknown, hint = '') {
  const error = new RangeError(sentence(argument, expected, received, hint));
  return coded(error, 'ERR_INVALID_ARG_VALUE');
}

export function outOfRange(argument: string, expected: string, received: unknown, hint = '') {
  return coded(new RangeError(sentence(argument, expected, received, hint)), 'ERR_OUT_OF_RANGE');
}

export function invalidState(message: string) {
  return coded(new Error(message), 'ERR_INVALID_STATE');
}

export function outOfMemory() {
  const error = new RangeError('Not enough memory for this convolution');
  return coded(error, 'ERR_MEMORY_ALLOCATION_FAILED');
}

export function queueFull() {
  const error = new Error('Too many calls are pending: another would pass the limit of setLimits');
  return coded(error, 'ERR_GEMMCONV_QUEUE_FULL');
}

function coded<E extends Error>(error: E, code: ErrorCode): E & { readonly code: ErrorCode } {
  return Object.assign(error, { code });
}

/** @param hint goes in brackets behind the value. */
function sentence(argument: string, expected: string, received: unknown, hint: string): string {
  const more = hint === '' ? '' : ` (${hint})`;
  return `Expected ${expected} for ${argument}, received ${show(received)}${more}`;
}

const MAX_STRING = 40;
const MAX_ELEMENTS = 8;

/** A short text for any value whatever; never throws, whatever the value's own code does. */
export function show(value: unknown): string {
  try {
    return typeof value === 'object' && value !== null
      ? showObject(value, showElement)
      : showPrimitive(value);
  } catch {
    return 'an object'; // a revoked proxy, or a getter that throws
  }
}

function showPrimitive(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return showString(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      // Printing takes quadratic time in the digits.
      return value > -(2n ** 64n) && value < 2n ** 64n ? `${value}n` : 'a bigint beyond 64 bits';
    case 'symbol':
      return clip(String(value));
    case 'function':
      return 'a function';
    default:
      return String(value);
  }
}

function showString(value: string): string {
  const inner = JSON.stringify(clip(value)).slice(1, -1).replaceAll('\\"', '"');
  return `'${inner}'`;
}

function clip(text: string): string {
  return text.length > MAX_STRING ? `${text.slice(0, MAX_STRING)}…` : text;
}

function showObject(value: object, element: (value: unknown) => string): string {
  if (Array.isArray(value)) {
    const shown: string[] = [];
    const count = value.length;
    for (let i = 0; i < Math.min(count, MAX_ELEMENTS); i++) shown.push(element(value[i]));
    if (count > MAX_ELEMENTS) shown.push(`… ${count - MAX_ELEMENTS} more`);
    return `[${shown.join(', ')}]`;
  }
  const name: unknown = value.constructor?.name;
  const named = typeof name === 'string' && name !== '' && name !== 'Object';
  if (!named) return 'an object';
  if (typedArrayName(value) !== undefined) {
    return `${clip(name)}(${lengthOf(value as ArrayBufferView)})`;
  }
  return `an instance of ${clip(name)}`;
}

/** One level is enough: nothing we accept nests deeper. */
function showElement(value: unknown): string {
  if (typeof value !== 'object' || value === null) return showPrimitive(value);
  return showObject(value, () => '…');
}
