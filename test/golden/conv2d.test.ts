import { expect, test } from 'vitest';
import { goldenConv2d } from './conv2d.js';
import type { GoldenProblem } from './extents.js';

function tensor(shape: readonly number[], values: readonly number[]) {
  return { shape, data: Float32Array.from(values) };
}

function count(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Both arithmetics are exact on small integers, so both must give `values`. */
function expectOutput(problem: GoldenProblem, shape: readonly number[], values: readonly number[]) {
  for (const arithmetic of ['fma32', 'float64'] as const) {
    const output =
      arithmetic === 'fma32' ? goldenConv2d(problem, 'fma32') : goldenConv2d(problem, 'float64');
    expect(output.shape, arithmetic).toEqual(shape);
    expect([...output.data], arithmetic).toEqual(values);
  }
}

test('slides the filter over the image without flipping it', () => {
  const input = tensor([1, 1, 3, 3], count(1, 9));
  const filter = tensor([1, 1, 2, 2], [1, 10, 100, 1000]);
  expectOutput({ input, filter }, [1, 1, 2, 2], [5421, 6532, 8754, 9865]);
});

test('sums over channels and adds the bias of each output channel', () => {
  const input = tensor([1, 2, 1, 2], [1, 2, 3, 4]);
  const filter = tensor([3, 2, 1, 1], [1, 0, 0, 1, 10, 100]);
  const bias = Float32Array.of(0, 5, 7);
  expectOutput({ input, filter, bias }, [1, 3, 1, 2], [1, 2, 8, 9, 317, 427]);
});

test('pads each side by its own amount, with nothing', () => {
  const input = tensor([1, 1, 1, 2], [2, 3]);
  const filter = tensor([1, 1, 2, 2], [1, 10, 100, 1000]);
  const padding = { top: 1, left: 2, bottom: 0, right: 1 };
  expectOutput({ input, filter, padding }, [1, 1, 1, 4], [0, 2000, 3200, 300]);
  const infinite = tensor([1, 1, 2, 2], [Number.POSITIVE_INFINITY, Number.NaN, 1, 1]);
  const top = { top: 1, left: 0, bottom: 0, right: 0 };
  expectOutput({ input, filter: infinite, padding: top }, [1, 1, 1, 1], [5]);
});

test('steps the image by the stride', () => {
  const input = tensor([1, 1, 3, 5], count(1, 15));
  const filter = tensor([1, 1, 1, 1], [1]);
  expectOutput({ input, filter, stride: [2, 3] }, [1, 1, 2, 2], [1, 4, 11, 14]);
});

test('keeps groups apart', () => {
  const input = tensor([1, 4, 1, 1], [1, 2, 3, 4]);
  const filter = tensor([2, 2, 1, 1], [1, 10, 1, 10]);
  expectOutput({ input, filter, groups: 2 }, [1, 2, 1, 1], [21, 43]);
  const multiplier = tensor([8, 1, 1, 1], count(1, 8));
  const values = [1, 2, 6, 8, 15, 18, 28, 32];
  expectOutput({ input, filter: multiplier, groups: 4 }, [1, 8, 1, 1], values);
});

test('reads and writes nhwc, and reads hwio', () => {
  // As the second test, in the other order of axes.
  const input = tensor([1, 1, 2, 2], [1, 3, 2, 4]);
  const filter = tensor([1, 1, 2, 3], [1, 0, 10, 0, 1, 100]);
  const values = [1, 3, 310, 2, 4, 420];
  expectOutput({ input, filter, layout: 'nhwc', filterLayout: 'hwio' }, [1, 1, 2, 3], values);
});

test('adds the residual before the activation', () => {
  const input = tensor([1, 1, 1, 3], [1, 2, 3]);
  const filter = tensor([1, 1, 1, 1], [1]);
  const add = Float32Array.of(-5, 2, 9);
  expectOutput({ input, filter, add, activation: 'relu6' }, [1, 1, 1, 3], [0, 4, 6]);
});

test('applies every activation', () => {
  const filter = tensor([1, 1, 1, 1], [1]);
  const apply = (activation: NonNullable<GoldenProblem['activation']>, v: number) =>
    goldenConv2d({ input: tensor([1, 1, 1, 1], [v]), filter, activation }, 'fma32').data[0];
  expect(apply('relu', -2)).toBe(0);
  expect(apply({ type: 'clamp', min: -1, max: 1 }, -2)).toBe(-1);
  expect(apply({ type: 'clamp', min: -1, max: 1 }, 3)).toBe(1);
  expect(apply({ type: 'leakyRelu', alpha: 0.25 }, -2)).toBe(-0.5);
  expect(apply({ type: 'leakyRelu', alpha: 0.25 }, 2)).toBe(2);
  expect(apply('hardSwish', 1)).toBe(Math.fround(4 / 6));
  expect(apply('hardSwish', -4)).toBe(-0);
  expect(apply('sigmoid', 0)).toBe(0.5);
  expect(apply('silu', 2)).toBe(Math.fround(2 / (1 + Math.exp(-2))));
  expect(apply('tanh', 1)).toBe(Math.fround(Math.tanh(1)));
  for (const activation of ['relu', 'relu6', 'silu', 'hardSwish', 'sigmoid', 'tanh'] as const) {
    expect(apply(activation, Number.NaN), activation).toBeNaN();
  }
});

test('fma32 rounds once a tap and float64 not at all', () => {
  const x = 1 + 2 ** -12;
  const input = tensor([1, 2, 1, 1], [1, x]);
  const filter = tensor([1, 2, 1, 1], [-1, x]);
  // x² − 1 = 2^-11 + 2^-24; a rounded product would lose the last term.
  expectOutput({ input, filter }, [1, 1, 1, 1], [2 ** -11 + 2 ** -24]);
  const tiny = tensor([1, 2, 1, 1], [1, 2 ** -30]);
  const ones = tensor([1, 2, 1, 1], [1, 1]);
  expect(goldenConv2d({ input: tiny, filter: ones }, 'fma32').data[0]).toBe(1);
  const { data, magnitude } = goldenConv2d({ input: tiny, filter: ones }, 'float64');
  expect([data[0], magnitude[0]]).toEqual([1 + 2 ** -30, 1 + 2 ** -30]);
});

test('handles an empty batch and no channels', () => {
  const filter = tensor([2, 0, 1, 1], []);
  const bias = Float32Array.of(3, -0);
  expectOutput({ input: tensor([0, 0, 2, 2], []), filter }, [0, 2, 2, 2], []);
  expectOutput({ input: tensor([1, 0, 1, 1], []), filter, bias }, [1, 2, 1, 1], [3, 0]);
});

// Three faults of the code that this library grew from.

test('steps the filter by the dilation, not by the stride', () => {
  const input = tensor([1, 1, 1, 7], count(1, 7));
  const filter = tensor([1, 1, 1, 2], [1, 10]);
  const problem = { input, filter, stride: [1, 2], dilation: [1, 3] } as const;
  expectOutput(problem, [1, 1, 1, 2], [41, 63]);
});

test('sizes the output by the dilated filter', () => {
  const input = tensor([1, 1, 5, 5], count(1, 25));
  const filter = tensor([1, 1, 3, 2], [1, 0, 0, 0, 0, 1]);
  expectOutput({ input, filter, dilation: [2, 4] }, [1, 1, 1, 1], [26]);
});

test('reads every image of the batch', () => {
  const input = tensor([3, 1, 2, 2], count(1, 12));
  const filter = tensor([1, 1, 2, 2], [1, 1, 1, 1]);
  expectOutput({ input, filter }, [3, 1, 1, 1], [10, 26, 42]);
});
