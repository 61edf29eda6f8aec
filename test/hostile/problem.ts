import { type Activation, type Algorithm, Conv2d, type Conv2dOptions, type Tensor } from 'gemmconv';
import { goldenConv2d } from '../golden/conv2d.js';
import { extentsOf, type GoldenProblem, toFilterOrder, toImageOrder } from '../golden/extents.js';
import type { Draw } from '../random.js';

/**
 * A convolution of small integers: every sum is exact in float32, so every algorithm but Winograd
 * has one right answer, on any instruction set. `large` ones are under way for a while.
 */
export interface Given {
  readonly options: Conv2dOptions;
  readonly algorithm: Algorithm;
  readonly inputShape: readonly number[];
  readonly filterShape: readonly number[];
  readonly outputShape: readonly number[];
  readonly outChannels: number;
  readonly macs: number;
  readonly winogradError: number;
}

/**
 * What Winograd may be off by: 50 · 2^-24 · Σ|w| · max|x| of 3×3, for at most 64 · 9 weights up to 4,
 * and 26 instead of 50 of 5×5, for 64 · 25 of them.
 */
const WINOGRAD_ERROR_3X3 = 0.03;
const WINOGRAD_ERROR_5X5 = 0.04;

const NO_PADS = { top: 0, left: 0, bottom: 0, right: 0 };

export function drawGiven(draw: Draw): Given {
  for (;;) {
    const given = draw.chance(0.3) ? drawLarge(draw) : drawSmall(draw);
    if (given.outputShape.every((extent, axis) => extent > 0 || axis === 0)) return given;
  }
}

function drawSmall(draw: Draw): Given {
  const groups = draw.rarely(4);
  const side = () => draw.integer(0, 2);
  return given({
    ...{ groups, CG: draw.integer(0, 9), OC: groups * draw.integer(1, 18) },
    ...{ batch: draw.integer(0, 2), H: draw.integer(1, 12), W: draw.integer(1, 40) },
    ...{ KH: draw.integer(1, 4), KW: draw.integer(1, 4) },
    padding: { top: side(), left: side(), bottom: side(), right: side() },
    ...{ stride: [draw.rarely(3), draw.rarely(3)], dilation: [draw.rarely(2), draw.rarely(2)] },
    activation: draw.from(['none', 'relu', 'relu6'] as const),
    layout: draw.from(['nchw', 'nhwc'] as const),
    filterLayout: draw.from(['oihw', 'hwio'] as const),
    algorithm: draw.from(['auto', 'exact', 'gemm'] as const),
  });
}

function drawLarge(draw: Draw): Given {
  const channels = draw.from([32, 64]);
  const taps = draw.from([3, 3, 5]);
  return given({
    ...{ groups: 1, CG: channels, OC: channels, batch: draw.integer(1, 2) },
    ...{ H: draw.integer(20, 60), W: draw.integer(20, 60), KH: taps, KW: taps },
    padding: draw.chance(0.5) ? NO_PADS : { top: 1, left: 1, bottom: 1, right: 1 },
    ...{ stride: [1, 1], dilation: [1, 1], activation: 'none', filterLayout: 'oihw' },
    layout: draw.from(['nchw', 'nhwc'] as const),
    algorithm: draw.from(['auto', 'exact', 'direct', 'gemm'] as const),
  });
}

interface Drawn extends Required<Pick<GoldenProblem, 'stride' | 'dilation' | 'padding'>> {
  readonly groups: number;
  readonly CG: number;
  readonly OC: number;
  readonly batch: number;
  readonly H: number;
  readonly W: number;
  readonly KH: number;
  readonly KW: number;
  readonly activation: Activation;
  readonly layout: 'nchw' | 'nhwc';
  readonly filterLayout: 'oihw' | 'hwio';
  readonly algorithm: Algorithm;
}

function given(drawn: Drawn): Given {
  const { stride, padding, dilation, groups, activation, layout, filterLayout, algorithm } = drawn;
  const inputShape = toImageOrder(layout, [drawn.batch, groups * drawn.CG, drawn.H, drawn.W]);
  const filterShape = toFilterOrder(filterLayout, [drawn.OC, drawn.CG, drawn.KH, drawn.KW]);
  const options = { stride, padding, dilation, groups, activation, layout, filterLayout };
  const empty = new Float32Array(0);
  const { outputShape } = extentsOf({
    ...options,
    input: { data: empty, shape: inputShape },
    filter: { data: empty, shape: filterShape },
  });
  const macs = drawn.CG * drawn.KH * drawn.KW * sizeOf(outputShape);
  const shapes = { inputShape, filterShape, outputShape, outChannels: drawn.OC };
  const winogradError = drawn.KH === 5 ? WINOGRAD_ERROR_5X5 : WINOGRAD_ERROR_3X3;
  return { options, algorithm, ...shapes, macs, winogradError };
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** From -4 to 4. */
export function integers(draw: Draw, count: number): Float32Array {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) numbers[i] = draw.integer(-4, 4);
  return numbers;
}

export interface Values {
  readonly input: Float32Array;
  readonly filter: Float32Array;
  readonly bias: Float32Array | null;
  readonly add: Float32Array | null;
}

/** Beyond this the naive loops are too slow, and the exact algorithm, tested elsewhere, answers. */
const MACS_BY_HAND = 300_000;

export function rightAnswer(given: Given, values: Values): Float32Array {
  const input: Tensor = { data: values.input, shape: given.inputShape };
  const filter: Tensor = { data: values.filter, shape: given.filterShape };
  const bias = values.bias ?? undefined;
  const add = values.add ?? undefined;
  if (sizeOf(given.outputShape) === 0) return new Float32Array(0);
  if (given.macs <= MACS_BY_HAND) {
    const problem = { ...given.options, input, filter, bias, add } as GoldenProblem;
    return goldenConv2d(problem, 'fma32').data as Float32Array;
  }
  const layer = new Conv2d(filter, { ...given.options, bias, algorithm: 'exact' });
  return layer.runSync(input, { add }).data;
}

/** The first value that is not as it must be; else undefined. */
export function firstWrong(
  { algorithm, macs, winogradError }: Given,
  actual: Float32Array,
  expected: Float32Array,
): string | undefined {
  if (actual.length !== expected.length) return `length ${actual.length}, not ${expected.length}`;
  const mayBeWinograd = algorithm === 'auto' && macs > MACS_BY_HAND;
  const tolerance = mayBeWinograd ? winogradError : 0;
  // A NaN spreads over a tile of Winograd.
  const mayBeNaN = mayBeWinograd && expected.some(Number.isNaN);
  for (let i = 0; i < expected.length; i++) {
    const [value, right] = [actual[i] as number, expected[i] as number];
    if (Number.isNaN(value) ? mayBeNaN || Number.isNaN(right) : near(value, right, tolerance)) {
      continue;
    }
    return `[${i}] is ${value}, must be ${right}`;
  }
  return undefined;
}

function near(value: number, right: number, tolerance: number): boolean {
  return Math.abs(value - right) <= tolerance;
}
