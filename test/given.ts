// Memory that may be given away to `run`, of every kind, around one small layer.
import { expect } from 'vitest';
import { Conv2d } from '../lib/index.js';
import type { Tensor } from '../lib/types.js';
import { firstDifference } from './difference.js';
import { ones, otherRealm } from './wrong.js';

export const C = 8;
export const layer = new Conv2d(ones(C, C, 3, 3), { padding: 1 });
export const SHAPE = [1, C, 12, 12] as const;
export const COUNT = C * 12 * 12;
export const GUARD = 5;
export const UNTOUCHED = -7;

/** Kinds of memory that can be given away. */
export const KINDS = [
  'own',
  'part',
  'resizable',
  'tracking',
  'realm',
  'subclass',
  'shared',
] as const;
export type Kind = (typeof KINDS)[number];

const Resizable = ArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => ArrayBuffer;

class Liar extends Float32Array {
  override get buffer(): ArrayBuffer {
    return new ArrayBuffer(4);
  }
  override get byteOffset(): number {
    return 4;
  }
  override get length(): number {
    return 3;
  }
}

function memory(kind: Kind, values: Float32Array): Float32Array {
  const bytes = 4 * (values.length + 2 * GUARD);
  const within = (buffer: ArrayBufferLike) => {
    new Float32Array(buffer).fill(UNTOUCHED);
    return new Float32Array(buffer, 4 * GUARD, values.length);
  };
  const make: Record<Kind, () => Float32Array> = {
    own: () => new Float32Array(values.length),
    part: () => within(new ArrayBuffer(bytes)),
    resizable: () => within(new Resizable(bytes, { maxByteLength: 2 * bytes })),
    tracking: () =>
      new Float32Array(
        new Resizable(4 * values.length, { maxByteLength: 8 * values.length }) as ArrayBuffer,
      ),
    realm: () => otherRealm(values.length),
    subclass: () => new Liar(values.length),
    shared: () => within(new SharedArrayBuffer(bytes)),
  };
  const data = make[kind]();
  Float32Array.prototype.set.call(data, values);
  return data;
}

const ramp = (count: number, offset: number) =>
  Float32Array.from({ length: count }, (_, i) => ((i + offset) % 11) - 5);
export const inputValues = ramp(COUNT, 0);
export const addValues = ramp(COUNT, 3);
const expected = layer.runSync({ data: inputValues, shape: SHAPE }, { add: addValues }).data;

export const input = (kind: Kind = 'own'): Tensor => ({
  data: memory(kind, inputValues),
  shape: SHAPE,
});
export const add = (kind: Kind = 'own') => memory(kind, addValues);
export const out = (kind: Kind = 'own') => memory(kind, new Float32Array(COUNT).fill(UNTOUCHED));

const lengthOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Float32Array.prototype),
  'length',
)?.get as (this: Float32Array) => number;
export const isAttached = (data: Float32Array) => lengthOf.call(data) > 0;

export function expectSame(actual: Float32Array, wanted: Float32Array = expected): void {
  expect(firstDifference(actual, wanted)).toBeUndefined();
}
