import { createContext, runInContext } from 'node:vm';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

/** Every sort of memory that a Float32Array may lie in. */
export const MEMORY_KINDS = [
  'own',
  'view',
  'resizable',
  'tracking',
  'shared',
  'growable',
  'wasm',
  'subclass',
  'realm',
  'pool',
] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

export function isShared(kind: MemoryKind): boolean {
  return kind === 'shared' || kind === 'growable';
}

/** What an unkind caller does to it. Those that a kind of memory does not allow have no effect. */
export const ACTS = ['fill', 'transfer', 'post', 'shrink', 'empty', 'grow', 'renew'] as const;
export type Act = (typeof ACTS)[number];

/** What Node has and the ES2023 typings lack. */
interface ResizableBuffer extends ArrayBuffer {
  readonly maxByteLength: number;
  resize(bytes: number): void;
}
interface GrowableBuffer extends SharedArrayBuffer {
  readonly maxByteLength: number;
  grow(bytes: number): void;
}
type Sized<T> = new (bytes: number, options: { maxByteLength: number }) => T;
const Resizable = ArrayBuffer as unknown as Sized<ResizableBuffer>;
const Growable = SharedArrayBuffer as unknown as Sized<GrowableBuffer>;

interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (pages: { initial: number; maximum: number }) => WasmMemory;
  };
};

/** Answers for itself, wrongly: the library must not ask. */
class Liar extends Float32Array {
  static get [Symbol.species](): typeof Float32Array {
    throw new Error('Symbol.species was asked');
  }
  override get length(): number {
    return 2 ** 33;
  }
  override get buffer(): ArrayBuffer {
    return new ArrayBuffer(4);
  }
  override get byteOffset(): number {
    return 4;
  }
}

/** One for all: to make one takes 0.6 ms (Zen 4). */
const realm = createContext();

const GUARD_FLOATS = 21; // odd, so that the view is not aligned to anything but a float
const PAGE = 65536;
const PATTERN = 0xa5;

/** Some floats, and the bytes on both sides of them, which nobody may touch. */
export class Memory {
  readonly kind: MemoryKind;
  readonly data: Float32Array;
  /** The same memory, through a view that tells the truth. */
  readonly #honest: Float32Array;
  readonly #wasm: WasmMemory | null;
  readonly #guards: readonly Uint8Array[];
  /** Where the second of them begins; memory that has grown goes on behind it. */
  readonly #tailAt: number;
  /** Node lets nobody have WebAssembly's memory, or the pool of small Buffers. */
  readonly isTransferable: boolean;

  constructor(kind: MemoryKind, values: Float32Array) {
    const bytes = values.byteLength;
    const guard = 4 * GUARD_FLOATS;
    const guarded = bytes + 2 * guard;
    this.kind = kind;
    this.#tailAt = guard + bytes;
    this.#wasm =
      kind === 'wasm'
        ? new WebAssembly.Memory({ initial: Math.ceil(guarded / PAGE), maximum: 4096 })
        : null;
    const within = (buffer: ArrayBufferLike) => new Float32Array(buffer, guard, values.length);
    const make: Record<MemoryKind, () => Float32Array> = {
      own: () => new Float32Array(values.length),
      subclass: () => new Float32Array(values.length),
      realm: () => runInContext(`new Float32Array(${values.length})`, realm),
      view: () => within(new ArrayBuffer(guarded)),
      shared: () => within(new SharedArrayBuffer(guarded)),
      resizable: () => within(new Resizable(guarded, { maxByteLength: 2 * guarded })),
      tracking: () => new Float32Array(new Resizable(bytes, { maxByteLength: 2 * bytes + 64 })),
      growable: () => new Float32Array(new Growable(bytes, { maxByteLength: 2 * bytes + 64 })),
      wasm: () => within(this.#wasm?.buffer ?? new ArrayBuffer(guarded)),
      pool: () => fromPool(values.length),
    };
    this.#honest = make[kind]();
    this.data = kind === 'subclass' ? new Liar(this.#honest.buffer as ArrayBuffer) : this.#honest;
    this.#guards = ['view', 'shared', 'resizable', 'wasm'].includes(kind)
      ? [0, this.#tailAt].map((at) => new Uint8Array(this.#honest.buffer, at, guard).fill(PATTERN))
      : [];
    this.#honest.set(values);
    const isPooled = kind === 'pool' && this.#honest.buffer.byteLength > pooledBytes(values.length);
    this.isTransferable = kind !== 'wasm' && !isPooled;
  }

  /** As of now; empty when the memory is gone. */
  get length(): number {
    return lengthOf(this.#honest);
  }

  /** A copy of the values as of now. */
  values(): Float32Array {
    const copy = new Float32Array(this.length);
    if (copy.length > 0) copy.set(this.#honest);
    return copy;
  }

  /** The same, where the memory has moved to. */
  guardsHoldIn({ buffer }: Float32Array): boolean {
    return this.#guards.every((_, i) => {
      const at = i === 0 ? 0 : this.#tailAt;
      return new Uint8Array(buffer, at, 4 * GUARD_FLOATS).every((byte) => byte === PATTERN);
    });
  }

  guardsHold(): boolean {
    // By index, because the methods and iterators of a detached array throw; and its elements are
    // undefined, though Node 20, once it has compiled this loop, still tells its old length.
    for (const bytes of this.#guards) {
      for (let i = 0; i < bytes.length; i++) if ((bytes[i] ?? PATTERN) !== PATTERN) return false;
    }
    return true;
  }

  suffer(act: Act): void {
    this.#undergo(act);
    // Here, where nothing but the library could still know of the transferred memory.
    if (act === 'transfer') globalThis.gc?.();
    for (const bytes of this.#guards) for (let i = 0; i < bytes.length; i++) bytes[i] = PATTERN;
  }

  #undergo(act: Act): void {
    const buffer = this.#honest.buffer;
    const bytes = buffer.byteLength;
    switch (act) {
      case 'fill':
        if (this.length > 0) this.#honest.fill(Number.NaN);
        return;
      case 'transfer':
        transfer(buffer, (list) => structuredClone(buffer, { transfer: list }));
        return;
      case 'post': {
        const { port1, port2 } = new MessageChannel();
        transfer(buffer, (list) => {
          port1.postMessage(buffer, list);
          return receiveMessageOnPort(port2)?.message;
        });
        port1.close();
        port2.close();
        return;
      }
      case 'grow':
        if (this.#wasm !== null) this.#wasm.grow(1);
        if (this.kind === 'growable') grow(buffer as GrowableBuffer);
        resize(buffer, 2 * bytes);
        return;
      case 'renew':
        resize(buffer, 0);
        resize(buffer, bytes);
        return;
      case 'shrink':
        resize(buffer, Math.floor(bytes / 8) * 4);
        return;
      case 'empty':
        resize(buffer, 0);
    }
  }
}

/** Arrays that merely happen to be near: freed memory, reused. */
export class Bystanders {
  readonly #arrays: Uint8Array[] = [];

  settle(bytes: number): void {
    for (let i = 0; i < 3; i++) this.#arrays.push(new Uint8Array(bytes).fill(PATTERN));
  }

  unharmed(): boolean {
    const words = (bytes: Uint8Array) => Buffer.from(bytes.buffer);
    return this.#arrays.every((bytes) => words(bytes).equals(Buffer.alloc(bytes.length, PATTERN)));
  }
}

const lengthGetter = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  'length',
)?.get as (this: Float32Array) => number;

function lengthOf(data: Float32Array): number {
  return lengthGetter.call(data);
}

const pooledBytes = (length: number) => 4 * length + 4;

/** A view of the pool that small Buffers share; Node refuses to transfer it. */
function fromPool(length: number): Float32Array {
  const bytes = Buffer.allocUnsafe(pooledBytes(length));
  const offset = Math.ceil(bytes.byteOffset / 4) * 4;
  return new Float32Array(bytes.buffer, offset, length);
}

/** The new owner, if Node lets there be one, uses the memory at once, and throws it away. */
function transfer(buffer: ArrayBufferLike, send: (list: ArrayBuffer[]) => ArrayBufferLike): void {
  if (buffer instanceof SharedArrayBuffer) return;
  try {
    new Uint8Array(send([buffer as ArrayBuffer])).fill(0xff);
  } catch (error) {
    if ((error as Error).name !== 'DataCloneError') throw error;
  }
}

function resize(buffer: ArrayBufferLike, bytes: number): void {
  if (!('resizable' in buffer) || !buffer.resizable) return;
  const resizable = buffer as unknown as ResizableBuffer;
  if (resizable.maxByteLength === 0) return; // detached
  resizable.resize(Math.min(bytes, resizable.maxByteLength));
}

function grow(buffer: GrowableBuffer): void {
  buffer.grow(buffer.maxByteLength);
}
