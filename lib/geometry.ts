import { outOfRange } from './errors.js';

/** [height, width] */
export type Pair = readonly [number, number];

export interface Pads {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** The filter and how it slides: all that the output's size depends on besides the image. */
export interface Window {
  readonly outChannels: number;
  /** C/G */
  readonly groupChannels: number;
  readonly groups: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  readonly padding: Pads | 'same' | 'same-lower';
}

export interface Image {
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

export interface Geometry {
  readonly outHeight: number;
  readonly outWidth: number;
  readonly pads: Pads;
  /** Values in the input, all images. */
  readonly inputCount: number;
  /** Values in the output, all images. */
  readonly outputCount: number;
  /** KH·KW·(C/G) · OC·OH·OW · N, padded taps counted. */
  readonly macs: number;
}

/** One axis: positions of the filter, and the padding they reach into at each end. */
export interface Axis {
  readonly out: number;
  readonly before: number;
  readonly after: number;
}

/** Elements of the image that one axis of the filter covers, holes included. */
export function span(taps: number, dilation: number): number {
  return dilation * (taps - 1) + 1;
}

/** out = floor((size + before + after − span) / stride) + 1, a true floor: ≤ 0 for no fit. */
export function slidePadded(
  size: number,
  covered: number,
  stride: number,
  before: number,
  after: number,
): Axis {
  return { out: Math.floor((size + before + after - covered) / stride) + 1, before, after };
}

/** out = ceil(size / stride); the least padding that gives it, the odd element at one end. */
export function slideSame(size: number, covered: number, stride: number, lower: boolean): Axis {
  const out = Math.ceil(size / stride);
  const total = Math.max(0, (out - 1) * stride + covered - size);
  const less = Math.floor(total / 2);
  return lower
    ? { out, before: total - less, after: less }
    : { out, before: less, after: total - less };
}

/**
 * Slides `window` over `image`.
 *
 * @param argument names the image's shape in errors.
 * @throws RangeError (ERR_OUT_OF_RANGE) when the filter does not fit once, or a count of elements
 *   is beyond the integers a number holds.
 */
export function slide(window: Window, image: Image, argument: string): Geometry {
  const rows = slideAxis(window, image.height, 0, argument);
  const columns = slideAxis(window, image.width, 1, argument);
  const { outChannels, groupChannels, kernel } = window;
  const outputs = [image.batch, outChannels, rows.out, columns.out];
  const padded = [
    image.height + rows.before + rows.after,
    image.width + columns.before + columns.after,
  ];
  countable([image.batch, image.channels, ...padded], 'values in the padded input', argument);
  countable([...kernel, groupChannels, ...outputs], 'multiplications', argument);
  return {
    outHeight: rows.out,
    outWidth: columns.out,
    pads: { top: rows.before, left: columns.before, bottom: rows.after, right: columns.after },
    inputCount: image.batch * image.channels * image.height * image.width,
    outputCount: product(outputs),
    macs: product([...kernel, groupChannels, ...outputs]),
  };
}

function slideAxis(window: Window, size: number, index: 0 | 1, argument: string): Axis {
  const { padding } = window;
  const taps = window.kernel[index];
  const dilation = window.dilation[index];
  const stride = window.stride[index];
  const covered = span(taps, dilation);
  if (typeof padding === 'string') {
    return slideSame(size, covered, stride, padding === 'same-lower');
  }
  const before = index === 0 ? padding.top : padding.left;
  const after = index === 0 ? padding.bottom : padding.right;
  const axis = slidePadded(size, covered, stride, before, after);
  if (axis.out < 1) {
    const name = index === 0 ? 'height' : 'width';
    const dilated = dilation === 1 ? '' : ` ${taps} dilated by ${dilation}`;
    throw outOfRange(
      argument,
      `a padded ${name} of at least ${covered} (the filter's${dilated})`,
      size + before + after,
      `${size} + ${before} + ${after}`,
    );
  }
  return axis;
}

/**
 * Refuses a count beyond 2**53 - 1. Empty extents count as one, so that whatever is computed from
 * the others (a row stride, an offset) can be relied on too. The test on the rounded product is
 * exact: the first partial product to pass 2**53 - 1 rounds to 2**53 or more, and no later factor
 * is below one.
 */
function countable(extents: readonly number[], what: string, argument: string): void {
  const count = product(extents.map((extent) => Math.max(1, extent)));
  if (count > Number.MAX_SAFE_INTEGER) {
    throw outOfRange(argument, `at most 2**53 - 1 ${what}`, count, extents.join(' x '));
  }
}

/** Number of elements; exact while it is a safe integer. */
export function product(extents: readonly number[]): number {
  let count = 1;
  for (const extent of extents) count *= extent;
  return count;
}
