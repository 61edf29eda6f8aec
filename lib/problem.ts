import type { ProblemField } from '../binding.js';
import type { Geometry, Image, Window } from './geometry.js';

/** Indices of the choices as the native core numbers them. */
export const LAYOUTS = ['nchw', 'nhwc'] as const;
export const FILTER_LAYOUTS = ['oihw', 'hwio'] as const;
export const ALGORITHMS = ['auto', 'exact', 'gemm', 'direct', 'depthwise', 'winograd'] as const;
export const ACTIVATIONS = [
  'none',
  'relu',
  'relu6',
  'clamp',
  'leakyRelu',
  'hardSwish',
  'sigmoid',
  'tanh',
  'silu',
] as const;

/** A layer's options with nothing left to interpret: choices are indices into the lists above. */
export interface Layer extends Window {
  readonly layout: number;
  readonly filterLayout: number;
  readonly algorithm: number;
  readonly activation: number;
  /** Lower clamp bound, or leakyRelu's alpha; a float32. */
  readonly activationMin: number;
  readonly activationMax: number;
}

/** What was asked, as numbers: a layer applied to one input shape. */
export type Conv2dProblem = Readonly<Record<ProblemField, number>>;

/** @param fragile adding zero times a weight could change a result (see `PlanCache`). */
export function makeProblem(
  layer: Layer,
  image: Image,
  geometry: Geometry,
  fragile: boolean,
): Conv2dProblem {
  // A filter without channels holds no values, so its extents may be beyond all that a loop over
  // the taps could finish; the sum is 0 whatever they are.
  const [kernelHeight, kernelWidth] = layer.groupChannels === 0 ? [1, 1] : layer.kernel;
  // Between the taps of one tap nothing lies, however large the dilation is.
  const dilationHeight = kernelHeight === 1 ? 1 : layer.dilation[0];
  const dilationWidth = kernelWidth === 1 ? 1 : layer.dilation[1];
  return {
    batch: image.batch,
    channels: image.channels,
    height: image.height,
    width: image.width,
    outChannels: layer.outChannels,
    kernelHeight,
    kernelWidth,
    groups: layer.groups,
    strideHeight: layer.stride[0],
    strideWidth: layer.stride[1],
    dilationHeight,
    dilationWidth,
    padTop: geometry.pads.top,
    padLeft: geometry.pads.left,
    outHeight: geometry.outHeight,
    outWidth: geometry.outWidth,
    layout: layer.layout,
    filterLayout: layer.filterLayout,
    activation: layer.activation,
    activationMin: layer.activationMin,
    activationMax: layer.activationMax,
    algorithm: layer.algorithm,
    fragile: fragile ? 1 : 0,
  };
}

/** Where each number goes in the array that crosses the boundary. */
const FIELD_INDEX = {
  batch: 0,
  channels: 1,
  height: 2,
  width: 3,
  outChannels: 4,
  kernelHeight: 5,
  kernelWidth: 6,
  groups: 7,
  strideHeight: 8,
  strideWidth: 9,
  dilationHeight: 10,
  dilationWidth: 11,
  padTop: 12,
  padLeft: 13,
  outHeight: 14,
  outWidth: 15,
  layout: 16,
  filterLayout: 17,
  activation: 18,
  activationMin: 19,
  activationMax: 20,
  algorithm: 21,
  fragile: 22,
} as const satisfies Record<ProblemField, number>;

const FIELDS = Object.keys(FIELD_INDEX) as ProblemField[];

export function encodeProblem(problem: Conv2dProblem): Float64Array {
  const encoded = new Float64Array(FIELDS.length);
  for (const field of FIELDS) encoded[FIELD_INDEX[field]] = problem[field];
  return encoded;
}
