/**
 * The one place where arguments are judged, before any work is done or any memory written.
 *
 * Two rules keep a hostile or careless argument harmless. Every property of the caller's objects
 * is read exactly once, into locals: a getter may run any code and answer differently next time.
 * And the lengths of typed arrays are looked at only after the last such read, because that code
 * may detach or shrink them. So each reader below reads first (`read…`: defaults, types, ranges)
 * and checks afterwards (`check…`: combinations, lengths).
 */
import { invalidType, invalidValue, outOfRange } from './errors.js';
import type { Geometry, Image } from './geometry.js';
import {
  asOptions,
  NONE,
  readActivation,
  readChoice,
  readInteger,
  readPadding,
  readPair,
  readTransfer,
} from './options.js';
import { ALGORITHMS, FILTER_LAYOUTS, LAYOUTS, type Layer } from './problem.js';
import {
  checkLength,
  checkShape,
  isRecord,
  type RawTensor,
  type RawValues,
  readShape,
  readTensor,
  readValues,
} from './tensor.js';
import { NOTHING } from './transfer.js';
import type { Conv2dOptions, RunOptions } from './types.js';

const LAYER_NAMES = [
  'bias',
  'stride',
  'padding',
  'dilation',
  'groups',
  'activation',
  'layout',
  'filterLayout',
  'algorithm',
] as const satisfies readonly (keyof Conv2dOptions)[];

export const RUN_SYNC_NAMES = ['add', 'out'] as const satisfies readonly (keyof RunOptions)[];
export const RUN_NAMES = [
  ...RUN_SYNC_NAMES,
  'signal',
  'transfer',
] as const satisfies readonly (keyof RunOptions)[];

/** Number of axes of input, filter and output. */
const RANK = 4;

/** What a layer is built from. The two arrays are the caller's own. */
export interface LayerArguments {
  readonly layer: Layer;
  readonly filter: Float32Array;
  readonly bias: Float32Array | null;
}

/** What one call is given, read but not yet measured. */
export interface CallArguments {
  readonly input: RawTensor;
  readonly add: RawValues | null;
  readonly out: RawValues | null;
  readonly signal: AbortSignal | null;
  /** Bits, see `TRANSFERABLES`. */
  readonly transfer: number;
}

/** The arguments of `new Conv2d`. */
export function validateLayer(filterArgument: unknown, optionsArgument: unknown): LayerArguments {
  const options = asOptions(optionsArgument, LAYER_NAMES);
  const {
    bias: biasOption,
    stride = 1,
    padding = 0,
    dilation = 1,
    groups: groupsOption = 1,
    activation = 'none',
    layout = 'nchw',
    filterLayout: filterLayoutOption = 'oihw',
    algorithm = 'auto',
  } = options;
  const filter = readTensor(filterArgument, RANK, 'filter');
  const bias = biasOption === undefined ? null : readValues(biasOption, 1, 'options.bias');
  const filterLayout = readChoice(filterLayoutOption, FILTER_LAYOUTS, 'options.filterLayout');
  const groups = readInteger(groupsOption, 1, 'options.groups');
  const layer: Layer = {
    ...filterExtents(filter.shape, filterLayout),
    groups,
    stride: readPair(stride, 1, 'options.stride'),
    dilation: readPair(dilation, 1, 'options.dilation'),
    padding: readPadding(padding, 'options.padding'),
    layout: readChoice(layout, LAYOUTS, 'options.layout'),
    filterLayout,
    algorithm: readChoice(algorithm, ALGORITHMS, 'options.algorithm'),
    ...readActivation(activation, 'options.activation'),
  };
  const { outChannels } = layer;
  if (outChannels % groups !== 0) {
    const expected = `a divisor of the filter's ${outChannels} output channels`;
    throw invalidValue('options.groups', expected, groups);
  }
  checkTensorLength(filter, 'filter');
  if (bias !== null) {
    checkShape(bias.shape, [outChannels], 'options.bias');
    checkLength(bias.data, outChannels, 'options.bias');
  }
  return { layer, filter: filter.data, bias: bias === null ? null : bias.data };
}

type FilterExtents = Pick<Layer, 'outChannels' | 'groupChannels' | 'kernel'>;

function filterExtents(shape: readonly number[], filterLayout: number): FilterExtents {
  const oihw = filterLayout === 0;
  const extentAt = (axis: number, min: number) => extent(shape, axis, min, 'filter.shape');
  return {
    outChannels: extentAt(oihw ? 0 : 3, 1),
    groupChannels: extentAt(oihw ? 1 : 2, 0),
    kernel: [extentAt(oihw ? 2 : 0, 1), extentAt(oihw ? 3 : 1, 1)],
  };
}

function extent(shape: readonly number[], axis: number, min: number, argument: string): number {
  const value = shape[axis] ?? 0;
  if (value < min) throw outOfRange(`${argument}[${axis}]`, `an integer of at least ${min}`, value);
  return value;
}

function checkTensorLength({ data, shape }: RawTensor, argument: string): void {
  const count = shape.reduce((product, extent) => product * extent, 1);
  if (count > Number.MAX_SAFE_INTEGER) {
    throw outOfRange(`${argument}.shape`, 'at most 2**53 - 1 values', shape);
  }
  checkLength(data, count, `${argument}.data`);
}

/** An input's shape, as given to `outputShape` and the like. */
export function validateShape(layer: Layer, shape: unknown): { shape: number[]; image: Image } {
  const extents = readShape(shape, RANK, 'shape');
  return { shape: extents, image: imageOf(layer, extents, 'shape') };
}

/** The axes of an input's shape by name. */
export function imageOf(layer: Layer, shape: readonly number[], argument: string): Image {
  const nchw = layer.layout === 0;
  const channelAxis = nchw ? 1 : 3;
  const channels = extent(shape, channelAxis, 0, argument);
  const expected = layer.groupChannels * layer.groups;
  if (channels !== expected) {
    const perGroup = layer.groups === 1 ? '' : ` for each of ${layer.groups} groups`;
    throw invalidValue(
      `${argument}[${channelAxis}]`,
      expected === 1 ? '1 channel' : `${expected} channels`,
      channels,
      `the filter has ${layer.groupChannels}${perGroup}; the layout is ${LAYOUTS[layer.layout]}`,
    );
  }
  return {
    batch: extent(shape, 0, 0, argument),
    channels,
    height: extent(shape, nchw ? 2 : 1, 1, argument),
    width: extent(shape, nchw ? 3 : 2, 1, argument),
  };
}

export function outputShapeOf(layer: Layer, image: Image, geometry: Geometry): number[] {
  const { batch } = image;
  const { outHeight, outWidth } = geometry;
  return layer.layout === 0
    ? [batch, layer.outChannels, outHeight, outWidth]
    : [batch, outHeight, outWidth, layer.outChannels];
}

/** Reads the arguments of one call; the last that may run the caller's code. */
export function readCall(
  input: unknown,
  optionsArgument: unknown,
  names: readonly string[],
): CallArguments {
  const tensor = readTensor(input, RANK, 'input');
  const options = asOptions(optionsArgument, names);
  const { add, out } = options;
  // What `runSync` does not take it must not read: of an ArrayBuffer, say, `transfer` is a method.
  const { signal, transfer } = names === RUN_NAMES ? options : NONE;
  return {
    input: tensor,
    add: add === undefined ? null : readValues(add, RANK, 'options.add'),
    out: out === undefined ? null : readValues(out, RANK, 'options.out'),
    signal: signal === undefined ? null : asSignal(signal),
    transfer: transfer === undefined ? NOTHING : readTransfer(transfer, 'options.transfer'),
  };
}

function asSignal(value: unknown): AbortSignal {
  const isSignal =
    isRecord(value) &&
    typeof value.aborted === 'boolean' &&
    typeof value.addEventListener === 'function' &&
    typeof value.removeEventListener === 'function';
  if (!isSignal) throw invalidType('options.signal', 'an AbortSignal', value);
  return value as unknown as AbortSignal;
}

/** What a call's tensors must look like. */
export interface CallExtents {
  readonly inputCount: number;
  readonly outputCount: number;
  readonly outputShape: readonly number[];
}

export function checkCall({ input, add, out }: CallArguments, extents: CallExtents): void {
  const { inputCount, outputCount, outputShape } = extents;
  if (add !== null) checkShape(add.shape, outputShape, 'options.add');
  if (out !== null) checkShape(out.shape, outputShape, 'options.out');
  checkLength(input.data, inputCount, 'input.data');
  if (add !== null) checkLength(add.data, outputCount, 'options.add');
  if (out !== null) checkLength(out.data, outputCount, 'options.out');
}

/** Divides the options of a one-off call, reading each once. */
export function splitOptions(
  value: unknown,
  runNames: readonly string[],
): { layer: Conv2dOptions; run: RunOptions } {
  const options = asOptions(value, [...LAYER_NAMES, ...runNames]);
  const pick = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, options[name]]));
  return { layer: pick(LAYER_NAMES), run: pick(runNames) };
}
