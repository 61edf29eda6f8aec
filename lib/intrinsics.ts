/**
 * Facts about a typed array come from the intrinsic getters: they read the object's own slots, so
 * neither a subclass, nor a property put on the object, nor a Proxy can lie to us, and arrays of
 * other realms are recognised. They give length 0 for a detached or out-of-bounds view.
 */
const TypedArrayPrototype: object = Object.getPrototypeOf(Uint8Array.prototype);

function intrinsic<T>(key: PropertyKey): (this: unknown) => T {
  const getter = Reflect.getOwnPropertyDescriptor(TypedArrayPrototype, key)?.get;
  if (getter === undefined) throw new Error(`This engine has no %TypedArray% ${String(key)}`);
  return getter;
}

const tagGetter = intrinsic<string | undefined>(Symbol.toStringTag);
const lengthGetter = intrinsic<number>('length');
const bufferGetter = intrinsic<ArrayBufferLike>('buffer');
const byteOffsetGetter = intrinsic<number>('byteOffset');

/** `Float32Array` and the like; undefined for whatever is no typed array. */
export function typedArrayName(value: unknown): string | undefined {
  return tagGetter.call(value);
}

export function lengthOf(data: ArrayBufferView): number {
  return lengthGetter.call(data);
}

export function bufferOf(data: ArrayBufferView): ArrayBufferLike {
  return bufferGetter.call(data);
}

export function byteOffsetOf(data: ArrayBufferView): number {
  return byteOffsetGetter.call(data);
}
