import { invalidType, invalidValue, outOfMemory, outOfRange } from './errors.js';
import { bufferOf, byteOffsetOf, lengthOf, typedArrayName } from './intrinsics.js';

/** A tensor whose fields have been read, once, but whose memory has not been looked at. */
export interface RawTensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** As `RawTensor`; a bare typed array stands for itself and has no shape. */
export interface RawValues {
  readonly data: Float32Array;
  readonly shape: readonly number[] | null;
}

const setMethod: (this: Float32Array, source: Float32Array) => void = Float32Array.prototype.set;

/** Zeroed memory of our own. */
export function zeroed(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch {
    throw outOfMemory();
  }
}

/** A private copy, as long as the source is now: another thread may grow shared memory meanwhile. */
export function copyOf(source: Float32Array): Float32Array {
  const length = lengthOf(source);
  const copy = new Float32Array(zeroed(4 * length));
  // Empty arrays may be detached: left alone.
  if (length > 0) {
    setMethod.call(copy, new Float32Array(bufferOf(source), byteOffsetOf(source), length));
  }
  return copy;
}

/** From here on, zeroing memory costs more than going round it. */
const UNINITIALISED_FROM = 2048;
/** The most that a Buffer of Node 20 holds. */
const BUFFER_MAX_BYTES = 2 ** 32;

/** Memory for a result that is seen only when all of it has been written. */
export function uninitialised(count: number): Float32Array {
  try {
    const bytes = 4 * count;
    if (count < UNINITIALISED_FROM || bytes > BUFFER_MAX_BYTES) return new Float32Array(count);
    return new Float32Array(Buffer.allocUnsafeSlow(bytes).buffer, 0, count);
  } catch {
    throw outOfMemory();
  }
}

/** `Array.isArray`, but false for a revoked proxy, for which that throws. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** An object that has properties to read: no array, no typed array, no revoked proxy. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  try {
    return !Array.isArray(value) && typedArrayName(value) === undefined;
  } catch {
    return false;
  }
}

/** Reads a tensor's fields; may run the caller's code. */
export function readTensor(
  value: unknown,
  rank: number,
  argument: string,
  expected = 'a tensor { data, shape }',
): RawTensor {
  if (!isRecord(value)) throw invalidType(argument, expected, value);
  const { data, shape } = value;
  // A promise that was not awaited, most likely, or another library's tensor.
  if (data === undefined && shape === undefined) throw invalidType(argument, expected, value);
  return {
    data: asFloat32(data, `${argument}.data`),
    shape: readShape(shape, rank, `${argument}.shape`),
  };
}

/** Reads a bare Float32Array or a tensor; may run the caller's code. */
export function readValues(value: unknown, rank: number, argument: string): RawValues {
  return typedArrayName(value) === undefined
    ? readTensor(value, rank, argument, 'a Float32Array or a tensor { data, shape }')
    : { data: asFloat32(value, argument), shape: null };
}

function asFloat32(value: unknown, argument: string): Float32Array {
  const name = typedArrayName(value);
  if (name === 'Float32Array') return value as Float32Array;
  if (name === 'Float64Array') {
    throw invalidType(argument, 'a Float32Array', value, 'float64 is not supported yet');
  }
  throw invalidType(argument, 'a Float32Array', value);
}

/** Reads every extent once: non-negative integers, as many as `rank`. */
export function readShape(value: unknown, rank: number, argument: string): number[] {
  if (!isArray(value)) throw invalidType(argument, `an array of ${rank} extents`, value);
  if (value.length !== rank) throw invalidValue(argument, `an array of ${rank} extents`, value);
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) shape.push(extent(value[axis], argument, axis));
  return shape;
}

function extent(value: unknown, argument: string, axis: number): number {
  if (typeof value !== 'number') throw invalidType(`${argument}[${axis}]`, 'a number', value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw outOfRange(`${argument}[${axis}]`, 'a non-negative integer', value);
  }
  return value + 0; // -0 becomes 0
}

/** The memory must hold exactly the values its shape promises. To be asked last. */
export function checkLength(data: Float32Array, count: number, argument: string): void {
  const length = lengthOf(data);
  if (length === count) return;
  const hint = length === 0 ? 'empty or detached' : '';
  throw invalidValue(argument, `a Float32Array of length ${count}`, data, hint);
}

export function checkShape(
  shape: readonly number[] | null,
  expected: readonly number[],
  argument: string,
): void {
  if (shape === null || sameShape(shape, expected)) return;
  throw invalidValue(`${argument}.shape`, `[${expected.join(', ')}]`, shape);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  for (let axis = 0; axis < b.length; axis++) {
    if (a[axis] !== b[axis]) return false;
  }
  return true;
}
