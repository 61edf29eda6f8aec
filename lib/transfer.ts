/**
 * Memory that the caller of `run` gives away, so that the library may work on it in place. A buffer
 * that JavaScript can reach may be transferred, resized or freed while a thread reads it; so an
 * ArrayBuffer is taken from the caller (detached, its memory moved to a new one that we alone hold).
 * A SharedArrayBuffer cannot be, and need not be: nothing can free it while we refer to it.
 */
import { types } from 'node:util';
import { invalidValue } from './errors.js';
import { bufferOf, byteOffsetOf, lengthOf } from './intrinsics.js';

/** The tensors of a call that may be given away: bits of a number, from the lowest on. */
export const TRANSFERABLES = ['input', 'add', 'out'] as const;
export type Transferable = (typeof TRANSFERABLES)[number];

export const NOTHING = 0;
export const EVERYTHING = 7;

export function bitOf(name: Transferable): number {
  return 1 << TRANSFERABLES.indexOf(name);
}

export function isGiven(given: number, name: Transferable): boolean {
  return (given & bitOf(name)) !== 0;
}

type Arrays = Readonly<Record<Transferable, Float32Array | null>>;

// Captured, for our memory goes through it. `ArrayBuffer.prototype.transfer` would do for new
// versions of Node, but 22 lets it take the pool that small Buffers share from all of them.
const clone = structuredClone;

/**
 * What an ArrayBuffer is refused for when it is to be transferred twice: at once, and left as it is,
 * so this is how to ask whether it can be. Deno takes it all the same: undefined there.
 */
function refusalOfTwo(buffer: ArrayBufferLike): string | undefined {
  const { stackTraceLimit } = Error;
  Reflect.set(Error, 'stackTraceLimit', 0); // three quarters of the 10 µs it costs
  try {
    clone(null, { transfer: [buffer as ArrayBuffer, buffer as ArrayBuffer] });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}

const DUPLICATE = refusalOfTwo(new ArrayBuffer(8));
const isTransferable = (buffer: ArrayBufferLike) => refusalOfTwo(buffer) === DUPLICATE;

/**
 * Node 20 copies what cannot be transferred (WebAssembly's memory, pooled Buffers), and takes the
 * rest. Later versions refuse the whole list.
 */
const COPIES_SILENTLY = (() => {
  try {
    const pool = Buffer.allocUnsafe(8).buffer as ArrayBuffer;
    clone(null, { transfer: [pool] });
    return pool.byteLength > 0;
  } catch {
    return false;
  }
})();

/** An array to be taken: which it is, and where it lies. */
interface Range {
  readonly name: Transferable;
  readonly buffer: ArrayBuffer;
  readonly start: number;
  readonly length: number;
}

/**
 * Takes the arrays that `given` names from the caller, all or none.
 *
 * @returns the same, with new ones over the same memory in place of those taken. Shared memory, and
 *   arrays without values, stay as they are.
 * @throws RangeError (ERR_INVALID_ARG_VALUE) when the memory of one cannot be transferred.
 */
export function takeAway<A extends Arrays>(arrays: A, given: number): A {
  const ranges = rangesOf(arrays, given);
  if (ranges.length === 0) return arrays;
  const buffers = [...new Set(ranges.map(({ buffer }) => buffer))];
  const moved = move(buffers, () => refused(arrays, ranges));
  const taken: Partial<Record<Transferable, Float32Array>> = {};
  for (const { name, buffer, start, length } of ranges) {
    const memory = moved[buffers.indexOf(buffer)] as ArrayBuffer;
    taken[name] = new Float32Array(memory, start, length);
  }
  return { ...arrays, ...taken };
}

function rangesOf(arrays: Arrays, given: number): Range[] {
  const ranges: Range[] = [];
  for (const name of TRANSFERABLES) {
    const data = arrays[name];
    if (data === null || !isGiven(given, name)) continue;
    const buffer = bufferOf(data);
    const length = lengthOf(data);
    if (length === 0 || types.isSharedArrayBuffer(buffer)) continue;
    ranges.push({ name, buffer: buffer as ArrayBuffer, start: byteOffsetOf(data), length });
  }
  return ranges;
}

function move(buffers: ArrayBuffer[], refusal: () => Error): ArrayBuffer[] {
  if (COPIES_SILENTLY && !buffers.every(isTransferable)) throw refusal();
  try {
    return clone(buffers, { transfer: buffers });
  } catch {
    throw refusal();
  }
}

const ARGUMENTS = {
  input: 'input.data',
  add: 'options.add',
  out: 'options.out',
} as const satisfies Record<Transferable, string>;

function refused(arrays: Arrays, ranges: readonly Range[]): Error {
  const isCulprit = ({ buffer }: Range) => DUPLICATE !== undefined && !isTransferable(buffer);
  const name = ranges.find(isCulprit)?.name;
  return invalidValue(
    name === undefined ? 'options.transfer' : ARGUMENTS[name],
    'memory that can be transferred',
    arrays[name ?? 'input'],
    'neither that of WebAssembly can, nor that of pooled Buffers',
  );
}
