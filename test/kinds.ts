import { createContext, runInContext } from 'node:vm';
import { detach, revokedProxy } from './wrong.js';

/** A sort of value that somebody may give for any argument. */
export interface Kind {
  readonly kind: string;
  readonly make: () => unknown;
  /** Its own code throws an error that says `mine`, which is passed on where it runs. */
  readonly throws?: true;
}

function mine(): never {
  throw new Error('mine');
}

/** One for all: to make one takes 0.6 ms (Zen 4). */
const realm = createContext();

const of = (kind: string, make: () => unknown): Kind => ({ kind, make });
const thrower = (kind: string, make: () => unknown): Kind => ({ kind, make, throws: true });

const TRAPS = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor'] as const;
const allTraps = Object.fromEntries(TRAPS.map((trap) => [trap, mine]));
const TYPED_ARRAYS = [
  ...['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array'],
  ...['Uint32Array', 'BigInt64Array', 'BigUint64Array', 'Float64Array', 'Float16Array'],
].filter((name) => name in globalThis);

function shrunk(): Float32Array {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(length: number): void };
  const buffer = new Resizable(192, { maxByteLength: 192 });
  const view = new Float32Array(buffer, 0, 48);
  buffer.resize(100);
  return view;
}

function detached(): Float32Array {
  const view = new Float32Array(48);
  detach(view);
  return view;
}

function disguised(): unknown {
  const bytes = new Uint8Array(192);
  Object.defineProperty(bytes, Symbol.toStringTag, { value: 'Float32Array' });
  return Object.setPrototypeOf(bytes, Float32Array.prototype);
}

const numbers = [0, -0, 1, -1, 1.5, Number.NaN, Infinity, -Infinity, 2 ** 31, 2 ** 32, 2 ** 53];
const moreNumbers = [2 ** 16, Number.MAX_SAFE_INTEGER, 2 ** 64, 1e300, 5e-324, 0.1 + 0.2];
const strings = ['', '1', 'same', 'relu', 'NCHW', '__proto__', 'toString', '\0', '🦊'.repeat(100)];

export const KINDS: readonly Kind[] = [
  ...[undefined, null, true, false].map((value) => of(String(value), () => value)),
  ...[...numbers, ...moreNumbers].map((value) =>
    of(Object.is(value, -0) ? '-0' : `number ${value}`, () => value),
  ),
  ...strings.map((value, i) => of(`string ${i}`, () => value)),
  of('a very long string', () => 'x'.repeat(1e6)),
  of('bigint', () => 1n),
  of('huge bigint', () => 2n ** 5000n),
  of('symbol', () => Symbol('s')),
  of('well-known symbol', () => Symbol.iterator),
  of('function', () => () => 1),
  of('class', () => class {}),

  of('object', () => ({})),
  of('without a prototype', () => Object.create(null)),
  of('frozen object', () => Object.freeze({})),
  of('valueOf gives 1', () => ({ valueOf: () => 1 })),
  of('toString gives same', () => ({ toString: () => 'same' })),
  of('toPrimitive gives 1', () => ({ [Symbol.toPrimitive]: () => 1 })),
  of('boxed number', () => new Number(1)),
  of('boxed string', () => new String('same')),
  of('boxed symbol', () => Object(Symbol('s'))),
  of('date', () => new Date(1)),
  of('regular expression', () => /1/),
  of('map', () => new Map([['data', 1]])),
  of('promise', () => Promise.resolve(1)),
  of('error', () => new Error('1')),
  of('unknown names', () => ({ strid: 1, padd: 2, '': 3 })),
  of('a name that hides', () => JSON.parse('{"__proto__": 1}')),
  of('itself within', () => {
    const self: Record<string, unknown> = {};
    self.data = self;
    self.shape = self;
    return self;
  }),

  of('[]', () => []),
  of('[1]', () => [1]),
  of('[1, 1]', () => [1, 1]),
  of('[1, 1, 1]', () => [1, 1, 1]),
  of('[1, 1, 1, 1]', () => [1, 1, 1, 1]),
  of('[1, 1, 1, 1, 1]', () => [1, 1, 1, 1, 1]),
  of('frozen array', () => Object.freeze([1, 1])),
  of('sparse array', () => Array(4)),
  of('huge sparse array', () => Array(2 ** 32 - 1)),
  of('array with a hole', () => Object.assign(Array(2), { 0: 1 })),
  of('array of NaN', () => [Number.NaN, Number.NaN]),
  of('array of fractions', () => [1.5, 1.5]),
  of('array of strings', () => ['1', '1']),
  of('array of bigints', () => [1n, 1n, 1n, 1n]),
  of('array of symbols', () => [Symbol('s'), Symbol('s')]),
  of('array of 2^53', () => [2 ** 53, 2 ** 53, 2 ** 53, 2 ** 53]),
  of('array whose product overflows', () => [2 ** 30, 2 ** 30, 2 ** 30, 2 ** 30]),
  of('array of arrays', () => [[1], [1]]),
  of('array in itself', () => {
    const array: unknown[] = [];
    array.push(array, array, array, array);
    return array;
  }),
  of('array-like', () => ({ length: 4, 0: 1, 1: 1, 2: 1, 3: 1 })),
  of('iterator', () => [1, 1][Symbol.iterator]()),
  of('array of another realm, too long', () => runInContext('[1, 1, 1]', realm)),
  of('proxied array that is longer each time', () => {
    let length = 2;
    return new Proxy([], { get: (_, key) => (key === 'length' ? length++ : 0.5) });
  }),

  ...TYPED_ARRAYS.map((name) =>
    of(name, () => {
      const Class = (globalThis as unknown as Record<string, new (length: number) => unknown>)[
        name
      ];
      return Class === undefined ? null : new Class(48);
    }),
  ),
  of('Buffer', () => Buffer.alloc(192)),
  of('DataView', () => new DataView(new ArrayBuffer(192))),
  of('ArrayBuffer', () => new ArrayBuffer(192)),
  of('SharedArrayBuffer', () => new SharedArrayBuffer(192)),
  of('Float32Array of 0', () => new Float32Array(0)),
  of('Float32Array one short', () => new Float32Array(3)),
  of('Float32Array one long', () => new Float32Array(73)),
  of('huge Float32Array', () => new Float32Array(1 << 20)),
  of('detached Float32Array', detached),
  of('shrunk Float32Array', shrunk),
  of('Float32Array of another realm, too long', () => runInContext('new Float32Array(200)', realm)),
  of('proxied Float32Array', () => new Proxy(new Float32Array(48), {})),
  of('made from its prototype', () => Object.create(Float32Array.prototype)),
  of('bytes in disguise', disguised),

  of('revoked proxy', () => revokedProxy({})),
  of('revoked proxy of an array', () => revokedProxy([])),
  of('revoked proxy of a function', () => revokedProxy(() => 1)),
  thrower('proxy whose traps throw', () => new Proxy({}, allTraps)),
  thrower('proxied array whose traps throw', () => new Proxy([], allTraps)),
  thrower('getters that throw', () =>
    Object.defineProperties(
      {},
      Object.fromEntries(
        ['data', 'shape', 'type', 'top', 'aborted'].map((name) => [
          name,
          { get: mine, enumerable: true },
        ]),
      ),
    ),
  ),
  thrower('array whose elements throw', () =>
    Object.defineProperties([], { 0: { get: mine }, 1: { get: mine }, 3: { get: mine } }),
  ),
  thrower('what throws when printed', () => ({ toString: mine, valueOf: mine, toJSON: mine })),
  thrower('a constructor that throws', () =>
    Object.defineProperty({}, 'constructor', { get: mine }),
  ),
];
