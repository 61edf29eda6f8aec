import { describe, expect, test } from 'vitest';
import { Conv2d, conv2dSync } from '../lib/index.js';
import {
  type Case,
  cases,
  caught,
  expectError,
  expectThrow,
  notIntegers,
  notNumbers,
  notObjects,
  ones,
  revokedProxy,
  wrong,
} from './wrong.js';

const filter = ones(4, 2, 3, 3);
const input = ones(1, 4, 5, 6);

const pairCases = ['options.stride', 'options.dilation'].flatMap((argument) => [
  ...cases(argument, 'TYPE', [...notNumbers, new Int32Array(2), revokedProxy([])]),
  ...cases(argument, 'RANGE', [...notIntegers, 0]),
  ...cases(argument, 'VALUE', [[], [1], [1, 1, 1]]),
  ...cases(`${argument}[0]`, 'TYPE', [Array(2)]),
  ...cases(
    `${argument}[0]`,
    'RANGE',
    [...notIntegers, 0].map((bad) => [bad, 1]),
  ),
  ...cases(
    `${argument}[1]`,
    'TYPE',
    notNumbers.map((bad) => [1, bad]),
  ),
]);

const paddingCases = [
  ...cases('options.padding', 'TYPE', [null, true, 1n, () => 1, new Int32Array(2)]),
  ...cases('options.padding', 'RANGE', notIntegers),
  ...cases('options.padding', 'VALUE', ['', 'Same', 'full', [], [1], [1, 1, 1, 1]]),
  ...cases('options.padding[0]', 'RANGE', [[-1, 0]]),
  ...cases('options.padding.top', 'TYPE', [{}, { left: 1, bottom: 1, right: 1 }]),
  ...cases('options.padding.right', 'TYPE', [{ top: 1, left: 1, bottom: 1 }]),
  ...cases('options.padding.bottom', 'RANGE', [{ top: 1, left: 1, bottom: -1, right: 1 }]),
  ...cases('the property names of options.padding', 'TYPE', [
    { top: 1, left: 1, bottom: 1, right: 1, front: 1 },
  ]),
];

const activationCases = [
  ...cases('options.activation', 'TYPE', [null, 0, true, [], () => 0]),
  ...cases('options.activation', 'VALUE', ['', 'gelu', 'constructor', 'clamp', 'leakyRelu']),
  ...cases('options.activation.type', 'TYPE', [{}, { type: 1 }]),
  ...cases('options.activation.type', 'VALUE', [{ type: 'relu' }]),
  ...cases('options.activation.min', 'TYPE', [
    { type: 'clamp', max: 1 },
    { type: 'clamp', min: '0', max: 1 },
    { type: 'leakyRelu', alpha: 1, min: 0 },
  ]),
  ...cases('options.activation.min', 'RANGE', [{ type: 'clamp', min: Number.NaN, max: 1 }]),
  ...cases('options.activation.max', 'TYPE', [{ type: 'leakyRelu', alpha: 1, max: 0 }]),
  ...cases('options.activation.max', 'RANGE', [
    { type: 'clamp', min: 1, max: Number.NaN },
    { type: 'clamp', min: 1, max: 0 },
    { type: 'clamp', min: 1 + 1e-12, max: 1 },
  ]),
  ...cases('options.activation.alpha', 'TYPE', [
    { type: 'leakyRelu' },
    { type: 'clamp', min: 0, max: 1, alpha: 1 },
  ]),
  ...cases('options.activation.alpha', 'RANGE', [
    { type: 'leakyRelu', alpha: Number.NaN },
    { type: 'leakyRelu', alpha: Infinity },
    { type: 'leakyRelu', alpha: 1e300 },
  ]),
  ...cases('the property names of options.activation', 'TYPE', [{ type: 'leakyRelu', slope: 1 }]),
];

const otherCases = [
  ...cases('options.groups', 'TYPE', notNumbers),
  ...cases('options.groups', 'RANGE', [...notIntegers, 0]),
  ...cases('options.groups', 'VALUE', [3, 8]),
  ...cases('options.layout', 'TYPE', [null, 0, {}, ['nchw']]),
  ...cases('options.layout', 'VALUE', ['', 'NCHW', 'oihw', 'toString']),
  ...cases('options.filterLayout', 'TYPE', [null, 0, {}]),
  ...cases('options.filterLayout', 'VALUE', ['', 'nchw', 'ohwi']),
  ...cases('options.algorithm', 'TYPE', [null, 0, {}]),
  ...cases('options.algorithm', 'VALUE', ['', 'fastest', 'Exact']),
  ...cases('options.bias', 'TYPE', [null, 0, 'x', [0, 0, 0, 0], new Float64Array(4)]),
  ...cases('options.bias', 'VALUE', [new Float32Array(3), new Float32Array(5)]),
  ...cases('options.bias', 'VALUE', [{ data: new Float32Array(3), shape: [4] }]),
  ...cases('options.bias.shape', 'VALUE', [ones(3), ones(5), ones(2, 2), ones(1, 4, 1, 1)]),
  ...cases('options.bias.shape', 'TYPE', [{ data: new Float32Array(4) }]),
  ...cases('options.bias.data', 'TYPE', [{ data: [1, 2, 3, 4], shape: [4] }]),
];

test.each([...pairCases, ...paddingCases, ...activationCases, ...otherCases])(
  '$argument: $code error %#',
  ({ value, code, argument }: Case) => {
    const name = /options\.(\w+)/.exec(argument)?.[1] ?? '';
    const options = wrong({ [name]: value });
    expectThrow(() => new Conv2d(filter, options), code, argument);
    expectThrow(() => conv2dSync(input, filter, options), code, argument);
  },
);

// The sentence as a whole, where its words depend on the value.
test.each<[string, unknown, string]>([
  ['bias', [1], 'a Float32Array or a tensor { data, shape } for options.bias, received [1]'],
  ['activation', 'clamp', "{ type: 'clamp', min, max } for options.activation, received 'clamp'"],
  [
    'activation',
    'leakyRelu',
    "{ type: 'leakyRelu', alpha } for options.activation, received 'leakyRelu'",
  ],
])('%s: what is expected instead of %o', (name, value, sentence) => {
  const error = caught(() => new Conv2d(filter, wrong({ [name]: value })));
  expect((error as Error).message).toBe(`Expected ${sentence}`);
});

test.each([
  [1, 2, '1 channel for shape[1], received 2 (the filter has 1; the layout is nchw)'],
  [
    3,
    2,
    '3 channels for shape[1], received 2 (the filter has 1 for each of 3 groups; the layout is nchw)',
  ],
])('channels in %i groups that the filter does not fit', (groups, channels, sentence) => {
  const layer = new Conv2d(ones(3, 1, 3, 3), { groups });
  const error = caught(() => layer.outputShape([1, channels, 5, 5]));
  expect((error as Error).message).toBe(`Expected ${sentence}`);
});

describe('the options themselves', () => {
  const values = [...notObjects, [], new Float32Array(3), revokedProxy({})];

  test.each(values.map((value) => ({ value })))('no object %#', ({ value }) => {
    expectThrow(() => new Conv2d(filter, wrong(value)), 'TYPE', 'options');
    expectThrow(() => conv2dSync(input, filter, wrong(value)), 'TYPE', 'options');
    expectThrow(() => new Conv2d(filter).runSync(input, wrong(value)), 'TYPE', 'options');
  });

  test.each([
    ['pading', 'padding'],
    ['pad', 'padding'],
    ['Stride', 'stride'],
    ['strides', 'stride'],
    ['dilations', 'dilation'],
    ['group', 'groups'],
    ['filter_layout', 'filterLayout'],
    ['baiss', 'bias'],
    ['acitvation', 'activation'],
  ])('%s: did you mean %s?', (given, meant) => {
    const error = caught(() => new Conv2d(filter, wrong({ [given]: undefined })));
    expectError(error, 'TYPE', 'the property names of options');
    expect((error as Error).message).toContain(`received '${given}' (did you mean '${meant}'?)`);
  });

  test.each(['x', '', 'kernelSize', '__proto__x', 'x'.repeat(1e5)])('no idea what: %#', (given) => {
    const error = caught(() => new Conv2d(filter, wrong({ [given]: 1 })));
    expectError(error, 'TYPE', 'the property names of options');
    expect((error as Error).message).not.toContain('did you mean');
  });

  test('those of a run are not those of a layer, nor the other way round', () => {
    const names = 'the property names of options';
    const layer = new Conv2d(filter, { groups: 2 });
    const { signal } = new AbortController();
    expectThrow(() => new Conv2d(filter, wrong({ out: ones(48).data })), 'TYPE', names);
    expectThrow(() => layer.runSync(input, wrong({ stride: 1 })), 'TYPE', names);
    expectThrow(() => layer.runSync(input, wrong({ signal })), 'TYPE', names);
  });

  test('undefined means the default, everywhere', () => {
    const layer = ['bias', 'stride', 'padding', 'dilation', 'groups', 'activation', 'layout'];
    const names = [...layer, 'filterLayout', 'algorithm', 'add', 'out'];
    const options = Object.fromEntries(names.map((name) => [name, undefined]));
    const { shape } = conv2dSync(ones(1, 2, 3, 3), filter, options);
    expect(shape).toEqual([1, 4, 1, 1]);
  });
});

test('every form that is right', () => {
  const shapeWith = (options: ConstructorParameters<typeof Conv2d>[1]) =>
    new Conv2d(filter, options).outputShape([1, 2, 7, 9]).slice(2);
  expect(shapeWith({ padding: 1 })).toEqual([7, 9]);
  expect(shapeWith({ padding: [1, 0] })).toEqual([7, 7]);
  expect(shapeWith({ padding: { top: 1, left: 2, bottom: 3, right: 4 } })).toEqual([9, 13]);
  expect(shapeWith({ padding: 'valid' })).toEqual([5, 7]);
  expect(shapeWith({ padding: 'same', stride: 2 })).toEqual([4, 5]);
  expect(shapeWith({ padding: 'same-lower', stride: [1, 3], dilation: 2 })).toEqual([7, 3]);
  expect(shapeWith({ dilation: [3, 1], stride: [2, 2] })).toEqual([1, 4]);
  const min = -Infinity;
  const max = Infinity;
  expect(shapeWith({ activation: { type: 'clamp', min, max } })).toEqual([5, 7]);
  expect(shapeWith({ activation: { type: 'clamp', min: 1, max: 1 } })).toEqual([5, 7]);
  expect(shapeWith({ activation: { type: 'leakyRelu', alpha: -2 } })).toEqual([5, 7]);
});
