import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { invalidState, invalidType, invalidValue, outOfRange, show } from '../lib/errors.js';

describe('the shape of an error', () => {
  test('invalidType', () => {
    const error = invalidType('options.bias', 'a Float32Array', 'x');
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
    expect(error.message).toBe("Expected a Float32Array for options.bias, received 'x'");
  });

  test('invalidValue', () => {
    const error = invalidValue('options.layout', "one of 'nchw', 'nhwc'", 'chw', 'a hint');
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toBe(
      "Expected one of 'nchw', 'nhwc' for options.layout, received 'chw' (a hint)",
    );
  });

  test('outOfRange', () => {
    const error = outOfRange('threads', 'an integer from 1 to 1024', 0);
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_OUT_OF_RANGE');
    expect(error.message).toBe('Expected an integer from 1 to 1024 for threads, received 0');
  });

  test('invalidState', () => {
    const error = invalidState('gone');
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe('ERR_INVALID_STATE');
  });
});

class Named {}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

class Liar extends Float32Array {
  override get length(): number {
    return 4;
  }
}

function throwing(): never {
  throw new Error('must not escape');
}

const hostileProxy = new Proxy(
  {},
  { get: throwing, has: throwing, ownKeys: throwing, getPrototypeOf: throwing },
);

describe('show', () => {
  const cases: readonly [name: string, value: unknown, text: string][] = [
    ['undefined', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a boolean', true, 'true'],
    ['a number', 1.5, '1.5'],
    ['minus zero', -0, '-0'],
    ['NaN', Number.NaN, 'NaN'],
    ['a string', 'same', "'same'"],
    ['quotes and newlines', 'a"b\nc', `'a"b\\nc'`],
    ['a long string', 'x'.repeat(1000), `'${'x'.repeat(40)}…'`],
    ['a bigint', 12n, '12n'],
    ['a huge bigint', 10n ** 100_000n, 'a bigint beyond 64 bits'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['a function', () => 1, 'a function'],
    ['a class', Named, 'a function'],
    ['a plain object', { a: 1 }, 'an object'],
    ['no prototype', Object.create(null), 'an object'],
    ['an instance', new Named(), 'an instance of Named'],
    ['an array', [1, 'a', null, [2], {}], "[1, 'a', null, […], an object]"],
    ['nested arrays', [[[[1]]]], '[[…]]'],
    ['a sparse array', Array(2), '[undefined, undefined]'],
    ['a long array', Array(1e6).fill(7), '[7, 7, 7, 7, 7, 7, 7, 7, … 999992 more]'],
    ['a huge sparse array', Array(2 ** 32 - 1).fill(1, 0, 8), /4294967287 more/.source],
    ['a typed array', new Float64Array(3), 'Float64Array(3)'],
    ['a typed array that lies', new Liar(3), 'Liar(3)'],
    ['a DataView', new DataView(new ArrayBuffer(1)), 'an instance of DataView'],
    ['a revoked proxy', revoked({}), 'an object'],
    ['a revoked array', revoked([]), 'an object'],
    ['a throwing proxy', hostileProxy, 'an object'],
    ['an object that throws', { toString: throwing, [Symbol.toPrimitive]: throwing }, 'an object'],
    [
      'a throwing constructor',
      Object.defineProperty({}, 'constructor', { get: throwing }),
      'an object',
    ],
    ['elements that throw', Object.defineProperty([], '0', { get: throwing }), 'an object'],
  ];

  test.each(cases)('%s', (_, value, text) => {
    expect(show(value)).toContain(text);
    expect(show(value).length).toBeLessThan(200);
  });

  test('an array that contains itself', () => {
    const array: unknown[] = [];
    array.push(array);
    expect(show(array)).toBe('[[…]]');
  });

  test('an array of another realm', () => {
    expect(show(runInNewContext('[1, 2]'))).toBe('[1, 2]');
  });
});
