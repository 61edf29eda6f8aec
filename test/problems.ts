import type { Activation, FilterLayout, Layout, Padding } from '../lib/types.js';
import { extentsOf, type GoldenProblem, toFilterOrder, toImageOrder } from './golden/extents.js';
import { Draw } from './random.js';

/** A random convolution. Seed and kind decide it, so a failure that names them can be replayed. */
export interface Problem extends GoldenProblem {
  readonly kind: Kind;
  readonly seed: number;
  /** The padding as a user would ask for it; `padding` is what it comes to on each side. */
  readonly asked: Padding;
  readonly layout: Layout;
  readonly filterLayout: FilterLayout;
  readonly activation: Activation;
  readonly macs: number;
}

/**
 * Which limit of the implementation a problem is drawn to cross: `deep` the blocks of K, `wide` any
 * extent, `blocks` those of filters or pixels under a K that fills the cache, `padded` the image, by
 * many vectors, `narrow` the vectors of nhwc that groups share, `large` what one thread is given,
 * `colliding` the sets of L1, by pixels of nhwc that are 1 KiB or a multiple apart, `planes` the ends
 * of rows, by windows that run on from row to row, `pairs` those of depthwise planes that lie in
 * vectors together, by square windows, `images` those of nhwc's pixels of few channels.
 */
export type Kind =
  | 'general'
  | 'deep'
  | 'wide'
  | 'grouped'
  | 'padded'
  | 'narrow'
  | 'large'
  | 'blocks'
  | 'colliding'
  | 'planes'
  | 'pairs'
  | 'images';

/** Around the register tiles (up to 14 rows, 8 to 32 columns), and primes. */
const CHANNELS = [1, 2, 3, 5, 6, 7, 8, 11, 13, 14, 15, 16, 17, 23, 31, 32, 33, 37, 47, 64, 65];
/** Around one and two blocks of K (256 to 384), with and without a 3×3 filter. */
const DEEP_CHANNELS = [29, 43, 57, 86, 127, 255, 256, 257, 384, 385, 511, 513, 769, 800];
const EXTENTS = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 16, 17, 19, 23, 28, 29, 31, 33];
/** Up to 256 masks of a row's ends are aligned. */
const WIDTHS = [24, 28, 33, 47, 56, 57, 112, 113, 256, 257, 300];
const HUGE_EXTENTS = [509, 1024, 2049, 4099, 5000];
const ACTIVATIONS: readonly Activation[] = [
  'none',
  'relu',
  'relu6',
  'hardSwish',
  { type: 'clamp', min: -0.5, max: 0.25 },
  { type: 'leakyRelu', alpha: 0.125 },
];

/** The golden reference costs some 15 ns a multiply-accumulate; threads join from some millions. */
const MACS: Readonly<Record<Kind, readonly [least: number, most: number]>> = {
  general: [0, 300_000],
  deep: [0, 300_000],
  wide: [0, 200_000],
  grouped: [0, 250_000],
  padded: [0, 250_000],
  narrow: [0, 500_000],
  large: [2_000_000, 5_000_000],
  blocks: [500_000, 5_000_000],
  colliding: [100_000, 2_000_000],
  planes: [50_000, 3_000_000],
  pairs: [0, 250_000],
  images: [0, 500_000],
};

const LAYOUTS: Readonly<Partial<Record<Kind, Layout>>> = {
  narrow: 'nhwc',
  colliding: 'nhwc',
  planes: 'nchw',
  pairs: 'nchw',
  images: 'nhwc',
};

export function randomProblem(seed: number, kind: Kind): Problem {
  const draw = new Draw(seed);
  for (;;) {
    const problem = drawProblem(draw, seed, kind);
    if (problem !== undefined) return problem;
  }
}

/** Everything about a problem but its numbers. */
export function describeProblem(problem: Problem): string {
  const { kind, seed, input, filter, stride, asked, dilation, groups, layout, filterLayout } =
    problem;
  const { bias, add, activation } = problem;
  const options = { stride, padding: asked, dilation, groups, layout, filterLayout, activation };
  const extras = `${bias ? ' bias' : ''}${add ? ' add' : ''}`;
  return `${kind} seed ${seed}: ${input.shape.join('×')} * ${filter.shape.join('×')}${extras} ${JSON.stringify(options)}`;
}

interface Sizes {
  readonly groups: number;
  readonly CG: number;
  readonly OC: number;
  readonly H: number;
  readonly W: number;
}

type DrawSizes = (draw: Draw, H: number, W: number) => Sizes;

/** Each may take the extents H and W, or draw others. */
const SIZES: Readonly<Record<Kind, DrawSizes>> = {
  general: (draw, H, W) => {
    return { groups: 1, CG: draw.from(CHANNELS), OC: draw.from(CHANNELS), H, W };
  },
  deep: (draw, H, W) => {
    return { groups: 1, CG: draw.from(DEEP_CHANNELS), OC: draw.from(CHANNELS), H, W };
  },
  wide: (draw) => {
    // One dimension huge: pixels in a row, rows, or output channels.
    const huge = draw.from(HUGE_EXTENTS);
    const small = { groups: 1, CG: draw.integer(1, 3), OC: draw.integer(1, 5), H: 1, W: 1 };
    const which = draw.from(['H', 'W', 'OC'] as const);
    return { ...small, H: draw.integer(1, 3), W: draw.integer(1, 3), [which]: huge };
  },
  grouped: (draw, H, W) => {
    const groups = draw.from(CHANNELS);
    const CG = draw.chance(0.5) ? 1 : draw.integer(1, 9);
    return { groups, CG, OC: groups * draw.from([1, 1, 2, 3, 8, 17]), H, W };
  },
  padded: (draw, _, W) => {
    const groups = draw.from(CHANNELS);
    return { groups, CG: 1, OC: groups * draw.from([1, 1, 2]), H: draw.integer(1, 3), W };
  },
  pairs: (draw) => {
    const groups = draw.integer(1, 9);
    const OC = groups * draw.from([1, 1, 1, 2]);
    return { groups, CG: 1, OC, H: draw.integer(3, 40), W: draw.integer(3, 60) };
  },
  images: (draw) => {
    const channels = draw.integer(1, 5);
    const sizes = { H: draw.integer(1, 40), W: draw.integer(1, 99) };
    if (draw.chance(0.5)) return { groups: channels, CG: 1, OC: channels, ...sizes };
    return { groups: 1, CG: channels, OC: draw.integer(1, 5), ...sizes };
  },
  narrow: (draw, H, W) => {
    const CG = draw.from([2, 2, 4, 4, 8, 8, 16, 3, 6, 12, 24]);
    const groups = draw.integer(1, 12);
    const OC = groups * (draw.chance(0.8) ? CG : draw.integer(1, 9));
    return { groups, CG, OC, H, W };
  },
  blocks: (draw) => {
    const CG = draw.from([173, 257, 400]);
    const [many, few] = [draw.integer(900, 2500), draw.integer(1, 7)];
    const flat = { groups: 1, CG, H: 1 };
    if (draw.chance(0.5)) return { ...flat, OC: many, W: few };
    return { ...flat, OC: few, W: many };
  },
  colliding: (draw) => {
    const channels = draw.from([256, 512, 768, 1024]);
    const groups = channels / draw.from([8, 16, 32, channels]);
    const OC = groups * draw.from([1, 3, 8, 16, 17]);
    return { groups, CG: channels / groups, OC, H: draw.integer(1, 19), W: draw.integer(5, 19) };
  },
  planes: (draw) => {
    const OC = draw.integer(1, 9);
    const CG = draw.integer(1, 9);
    return { groups: 1, CG, OC, H: draw.integer(9, 60), W: draw.from(WIDTHS) };
  },
  large: (draw, H, W) => {
    return { groups: 1, CG: draw.from([64, 65, 97, 128]), OC: draw.from([64, 67, 130]), H, W };
  },
};

function drawSizes(draw: Draw, kind: Kind): Sizes {
  const H = draw.from(EXTENTS);
  const W = draw.from(EXTENTS);
  return SIZES[kind](draw, H, W);
}

function drawProblem(draw: Draw, seed: number, kind: Kind): Problem | undefined {
  const { groups, CG, OC, H, W } = drawSizes(draw, kind);
  const KH = draw.from(kind === 'pairs' ? [2, 3, 5] : [1, 1, 2, 3, 3, 4, 5, 7]);
  const usualKW = kind === 'narrow' ? 3 : KH;
  const KW = kind === 'pairs' || draw.chance(0.7) ? usualKW : draw.from([1, 2, 3, 5, 6]);
  const stride = drawStride(draw, kind);
  const dilation =
    kind === 'pairs' ? ([1, 1] as const) : ([draw.rarely(3), draw.rarely(3)] as const);
  const batch = draw.chance(0.6) ? 1 : draw.integer(2, 3);
  const { asked, padding } = drawPadding(draw, { H, W, KH, KW, stride, dilation }, kind);
  const layout = LAYOUTS[kind] ?? draw.from(['nchw', 'nhwc'] as const);
  const filterLayout = draw.from(['oihw', 'hwio'] as const);
  const inputShape = toImageOrder(layout, [batch, groups * CG, H, W]);
  const filterShape = toFilterOrder(filterLayout, [OC, CG, KH, KW]);
  const shapes = {
    input: { shape: inputShape, data: new Float32Array(0) },
    filter: { shape: filterShape, data: new Float32Array(0) },
    ...{ stride, dilation, padding, groups, layout, filterLayout },
  };
  const { OH, OW, outputShape } = extentsOf(shapes);
  if (OH < 1 || OW < 1) return undefined;
  const outputSize = outputShape.reduce((a, b) => a * b);
  const macs = CG * KH * KW * outputSize;
  const [least, most] = MACS[kind];
  if (macs < least || macs > most) return undefined;
  return {
    ...shapes,
    ...{ kind, seed, asked, macs },
    input: { shape: inputShape, data: draw.floats(batch * groups * CG * H * W) },
    filter: { shape: filterShape, data: draw.floats(OC * CG * KH * KW) },
    bias: draw.chance(0.5) ? draw.floats(OC) : undefined,
    add: draw.chance(0.3) ? draw.floats(outputSize) : undefined,
    activation: draw.chance(0.5) ? 'none' : draw.from(ACTIVATIONS),
  };
}

function drawStride(draw: Draw, kind: Kind): readonly [number, number] {
  if (kind === 'planes') return [1, 1];
  if (kind !== 'pairs') return [draw.rarely(4), draw.rarely(4)];
  const step = draw.integer(1, 2);
  return [step, step];
}

interface Window {
  readonly H: number;
  readonly W: number;
  readonly KH: number;
  readonly KW: number;
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
}

function drawPadding(draw: Draw, window: Window, kind: Kind) {
  if (kind === 'padded') {
    const [left, right] = [draw.integer(0, 400), draw.integer(0, 400)];
    const padding = { top: draw.integer(0, 2), left, bottom: draw.integer(0, 2), right };
    return { asked: padding, padding };
  }
  const form = draw.from(['valid', 'same', 'same-lower', 'sides', 'sides', 'sides'] as const);
  if (form === 'valid') return { asked: form, padding: { top: 0, left: 0, bottom: 0, right: 0 } };
  if (form !== 'sides') {
    const { H, W, KH, KW, stride, dilation } = window;
    const [top, bottom] = samePadding(H, KH, stride[0], dilation[0], form === 'same-lower');
    const [left, right] = samePadding(W, KW, stride[1], dilation[1], form === 'same-lower');
    return { asked: form, padding: { top, left, bottom, right } };
  }
  // Up to more than the dilated filter: whole rows of the output then see padding alone.
  const high = (taps: number, step: number) => draw.integer(0, step * (taps - 1) + 2);
  const tall = () => high(window.KH, window.dilation[0]);
  const broad = () => high(window.KW, window.dilation[1]);
  const padding = { top: tall(), left: broad(), bottom: tall(), right: broad() };
  return { asked: padding, padding };
}

/** Rows before and after, such that the output has ceil(size / stride). */
function samePadding(
  size: number,
  taps: number,
  stride: number,
  dilation: number,
  oddFirst: boolean,
): [before: number, after: number] {
  const outputs = Math.ceil(size / stride);
  const total = Math.max(0, (outputs - 1) * stride + (taps - 1) * dilation + 1 - size);
  const less = Math.floor(total / 2);
  return oddFirst ? [total - less, less] : [less, total - less];
}
