import { describe, expect, test } from 'vitest';
import { Conv2d, conv2d } from '../lib/index.js';
import type { RunOptions } from '../lib/types.js';
import {
  type Code,
  cases,
  caught,
  expectRejection,
  expectThrow,
  notIntegers,
  notNumbers,
  notObjects,
  ones,
  otherRealm,
  revokedProxy,
  wrong,
} from './wrong.js';

const filter = ones(4, 2, 3, 3);
const input = ones(1, 4, 5, 6);
const outputCount = 4 * 3 * 4;
const layer = new Conv2d(filter, { groups: 2 });

describe('filter', () => {
  const data = new Float32Array(72);
  const shape = [4, 2, 3, 3];
  const sparse = Object.assign(Array(4), { 0: 4, 2: 3, 3: 3 });
  const withShape = (shapes: readonly unknown[]) => shapes.map((bad) => ({ data, shape: bad }));
  const withExtent = (extents: readonly unknown[]) =>
    withShape(extents.map((bad) => [4, bad, 3, 3]));
  const notData = [undefined, null, Array(72).fill(0), data.buffer, new DataView(data.buffer)];
  const otherData = [new Float64Array(72), new Int32Array(72), Buffer.alloc(288)];
  const fakeData = [new Proxy(data, {}), Object.create(Float32Array.prototype)];

  test.each([
    ...cases('filter', 'TYPE', [...notObjects, undefined, data, [], revokedProxy({})]),
    ...cases('filter.shape', 'TYPE', withShape([undefined, null, 4, 'abcd', new Uint8Array(4)])),
    ...cases('filter.shape', 'TYPE', withShape([{ length: 4 }, revokedProxy([])])),
    ...cases('filter.shape', 'VALUE', withShape([[], [4], [4, 2, 3], [4, 2, 3, 3, 1], Array(1e6)])),
    ...cases('filter.shape[1]', 'TYPE', withExtent([...notNumbers, undefined])),
    ...cases('filter.shape[1]', 'TYPE', withShape([sparse])),
    ...cases('filter.shape[1]', 'RANGE', withExtent(notIntegers)),
    ...cases('filter.shape[0]', 'RANGE', withShape([[0, 2, 3, 3]])),
    ...cases('filter.shape[2]', 'RANGE', withShape([[4, 2, 0, 3]])),
    ...cases('filter.shape[3]', 'RANGE', withShape([[4, 2, 3, 0]])),
    ...cases('filter.shape', 'RANGE', withShape([[2 ** 30, 2 ** 30, 3, 3]])),
    ...cases(
      'filter.data',
      'TYPE',
      [...notData, ...otherData, ...fakeData].map((bad) => ({ data: bad, shape })),
    ),
    ...cases(
      'filter.data',
      'VALUE',
      [0, 71, 73].map((length) => ({ data: new Float32Array(length), shape })),
    ),
  ])('$argument: $code error %#', ({ value, code, argument }) => {
    expectThrow(() => new Conv2d(wrong(value)), code, argument);
  });

  test('hwio: the extents lie elsewhere', () => {
    const hwio = { filterLayout: 'hwio' } as const;
    expectThrow(() => new Conv2d(ones(0, 3, 2, 4), hwio), 'RANGE', 'filter.shape[0]');
    expectThrow(() => new Conv2d(ones(3, 0, 2, 4), hwio), 'RANGE', 'filter.shape[1]');
    expectThrow(() => new Conv2d(ones(3, 3, 2, 0), hwio), 'RANGE', 'filter.shape[3]');
    expect(new Conv2d(ones(3, 3, 0, 4), hwio).outputShape([1, 0, 3, 3])).toEqual([1, 4, 1, 1]);
  });

  test('float64 is told apart', () => {
    const error = caught(() => new Conv2d({ data: wrong(new Float64Array(72)), shape }));
    expect((error as Error).message).toBe(
      'Expected a Float32Array for filter.data, received Float64Array(72) ' +
        '(float64 is not supported yet)',
    );
  });

  test('a proxied shape and foreign data are as good as any', () => {
    expect(new Conv2d({ data, shape: new Proxy(shape, {}) }).macs([1, 2, 3, 3])).toBe(72);
    expect(new Conv2d({ data: otherRealm(72), shape }).macs([1, 2, 3, 3])).toBe(72);
  });
});

/** The same error from `runSync`, thrown, and from `run`, as a rejection. */
async function expectBoth(
  given: unknown,
  options: RunOptions | undefined,
  code: Code,
  argument: string,
): Promise<void> {
  expectThrow(() => layer.runSync(wrong(given), options), code, argument);
  const promise = layer.run(wrong(given), options); // must not throw
  await expectRejection(promise, code, argument);
}

describe('input', () => {
  const withShape = (...shape: unknown[]) => ({ ...input, shape });
  const withData = (data: unknown) => ({ ...input, data });

  test.each([
    ...cases('input', 'TYPE', [...notObjects, undefined, input.data, [], revokedProxy({})]),
    ...cases('input.data', 'TYPE', [new Float64Array(120), null, [1]].map(withData)),
    ...cases('input.data', 'TYPE', [withData(new Proxy(input.data, {})), { shape: input.shape }]),
    ...cases(
      'input.data',
      'VALUE',
      [0, 119, 121].map((n) => withData(new Float32Array(n))),
    ),
    ...cases('input.shape', 'TYPE', [{ data: input.data }, { ...input, shape: new Int32Array(4) }]),
    ...cases('input.shape', 'VALUE', [withShape(4, 5, 6), withShape()]),
    ...cases(
      'input.shape[2]',
      'TYPE',
      [...notNumbers, undefined].map((bad) => withShape(1, 4, bad, 6)),
    ),
    ...cases(
      'input.shape[2]',
      'RANGE',
      [...notIntegers, 0].map((bad) => withShape(1, 4, bad, 6)),
    ),
    ...cases('input.shape[3]', 'RANGE', [withShape(1, 4, 30, 0)]),
    ...cases('input.shape[0]', 'RANGE', [withShape(-1, 4, 5, 6)]),
    ...cases('input.shape[1]', 'VALUE', [withShape(1, 2, 5, 12), withShape(1, 0, 5, 6)]),
    ...cases('input.shape', 'RANGE', [ones(1, 4, 2, 6), ones(1, 4, 6, 2)]),
    ...cases('input.shape', 'RANGE', [withShape(2 ** 50, 4, 5, 6)]),
  ])('$argument: $code error %#', async ({ value, code, argument }) => {
    const out = new Float32Array(outputCount).fill(7);
    await expectBoth(value, { out }, code, argument);
    expect(out.every((v) => v === 7)).toBe(true);
  });
});

describe('options of a call', () => {
  const outputShape = [1, 4, 3, 4];
  const tooMany = new Float32Array(outputCount + 1);

  const tensorCases = ['options.add', 'options.out'].flatMap((argument) => [
    ...cases(argument, 'TYPE', [null, 0, 'x', [], new Float64Array(outputCount)]),
    ...cases(argument, 'VALUE', [new Float32Array(0), new Float32Array(outputCount - 1), tooMany]),
    ...cases(argument, 'VALUE', [{ data: tooMany, shape: outputShape }]),
    ...cases(`${argument}.data`, 'TYPE', [{ data: null, shape: outputShape }]),
    ...cases(`${argument}.shape`, 'TYPE', [{ data: new Float32Array(outputCount) }]),
    ...cases(`${argument}.shape`, 'VALUE', [ones(1, 4, 4, 3), ones(outputCount)]),
    ...cases(`${argument}.shape[1]`, 'TYPE', [{ ...ones(outputCount), shape: [1, '4', 3, 4] }]),
  ]);

  test.each(tensorCases)('$argument: $code error %#', async ({ value, code, argument }) => {
    const name = argument.startsWith('options.add') ? 'add' : 'out';
    const out = new Float32Array(outputCount).fill(7);
    await expectBoth(input, wrong({ out, [name]: value }), code, argument);
    expect(out.every((v) => v === 7)).toBe(true);
  });

  const values = [...notObjects, [], new Float32Array(3)];

  test.each(values.map((value) => ({ value })))('no object %#', async ({ value }) => {
    await expectBoth(input, wrong(value), 'TYPE', 'options');
  });

  test('an option nobody knows', async () => {
    await expectBoth(input, wrong({ output: 1 }), 'TYPE', 'the property names of options');
  });

  const signals = [null, 1, [], {}, { aborted: false }, { aborted: 0, addEventListener() {} }];

  test.each(signals.map((signal) => ({ signal })))('signal %#', async ({ signal }) => {
    await expectRejection(layer.run(input, wrong({ signal })), 'TYPE', 'options.signal');
  });

  test('an error thrown by a getter is passed on', async () => {
    const mine = new Error('mine');
    const options = {
      get out(): never {
        throw mine;
      },
    };
    expect(caught(() => layer.runSync(input, options))).toBe(mine);
    await expect(layer.run(input, options)).rejects.toBe(mine);
  });
});

test('a one-off call rejects, whatever is wrong with it', async () => {
  await expectRejection(conv2d(wrong(null), filter), 'TYPE', 'input');
  await expectRejection(conv2d(input, wrong(null)), 'TYPE', 'filter');
  await expectRejection(conv2d(input, filter, wrong(null)), 'TYPE', 'options');
  const misspelt = wrong({ groups: 2, strid: 1 });
  await expectRejection(conv2d(input, filter, misspelt), 'TYPE', 'the property names of options');
  await expectRejection(conv2d(input, filter, { groups: 3 }), 'VALUE', 'options.groups');
  await expectRejection(conv2d(input, filter), 'VALUE', 'input.shape[1]');
});

test.each(['outputShape', 'macs', 'plan'] as const)('%s(shape)', (method) => {
  for (const bad of [null, undefined, 4, 'abcd', new Int32Array(4)]) {
    expectThrow(() => layer[method](wrong(bad)), 'TYPE', 'shape');
  }
  expectThrow(() => layer[method]([1, 4, 5]), 'VALUE', 'shape');
  expectThrow(() => layer[method]([1, 3, 5, 6]), 'VALUE', 'shape[1]');
  expectThrow(() => layer[method]([1, 4, 5, 0.5]), 'RANGE', 'shape[3]');
  expectThrow(() => layer[method]([1, 4, 2, 2]), 'RANGE', 'shape');
});
