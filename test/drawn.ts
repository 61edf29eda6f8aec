// Problems that fast-check draws and, on a failure, shrinks to a small one (it prints the seed).
// GEMMCONV_TEST_SEED=7 draws others, GEMMCONV_PROPERTY_RUNS=5000 draws more.
import fc from 'fast-check';
import { setThreads } from '../lib/index.js';
import type { Conv2dOptions, Tensor } from '../lib/types.js';
import { extentsOf, toFilterOrder, toImageOrder } from './golden/extents.js';
import { Draw } from './random.js';

export const parameters = {
  numRuns: Number(process.env.GEMMCONV_PROPERTY_RUNS ?? 120),
  seed: Number(process.env.GEMMCONV_TEST_SEED ?? 1),
};

export type Four = readonly [number, number, number, number];
export type Options = Required<
  Pick<Conv2dOptions, 'groups' | 'layout' | 'filterLayout' | 'activation'>
> & {
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly padding: { top: number; left: number; bottom: number; right: number };
};

/** In the order [N, C, H, W] and [OC, C/G, KH, KW], whatever the layouts. */
interface Sizes {
  readonly image: Four;
  readonly filter: Four;
}

export interface Drawn extends Sizes {
  readonly options: Options;
  readonly seed: number;
  readonly hasBias: boolean;
  readonly hasAdd: boolean;
  readonly threads: number;
}

export const upTo = (most: number, least = 1) => fc.integer({ min: least, max: most });
const twice = (most: number) => fc.tuple(upTo(most), upTo(most));
/** Mostly small, now and then across the register tiles. */
const channels = fc.oneof({ weight: 4, arbitrary: upTo(6) }, { weight: 1, arbitrary: upTo(40) });

export const drawn: fc.Arbitrary<Drawn> = fc
  .record({
    ...{ groups: upTo(4), CG: fc.oneof(channels, fc.constant(0)), OCG: channels, N: upTo(3, 0) },
    ...{ H: upTo(12), W: fc.oneof(upTo(12), upTo(70)), KH: upTo(4), KW: upTo(4) },
    ...{ stride: twice(3), dilation: twice(3), sides: fc.tuple(...Array(4).fill(upTo(4, 0))) },
    layout: fc.constantFrom('nchw', 'nhwc'),
    filterLayout: fc.constantFrom('oihw', 'hwio'),
    activation: fc.constantFrom('none', 'none', 'relu', 'relu6', 'hardSwish'),
    ...{ seed: fc.nat(), hasBias: fc.boolean(), hasAdd: fc.boolean(), threads: upTo(4) },
  })
  .map(({ groups, CG, OCG, N, H, W, KH, KW, stride, dilation, sides, ...rest }) => {
    const { layout, filterLayout, activation, ...others } = rest;
    const [top = 0, left = 0, bottom = 0, right = 0] = sides as number[];
    const padding = { top, left, bottom, right };
    return {
      image: [N, groups * CG, H, W] as Four,
      filter: [groups * OCG, CG, KH, KW] as Four,
      options: { groups, stride, dilation, padding, layout, filterLayout, activation } as Options,
      ...others,
    };
  })
  .filter(({ image, filter, options }) => {
    const [, , H, W] = image;
    const { top, left, bottom, right } = options.padding;
    const [, , KH, KW] = filter;
    const rows = H + top + bottom - options.dilation[0] * (KH - 1);
    return rows > 0 && W + left + right - options.dilation[1] * (KW - 1) > 0;
  });

export interface Problem {
  readonly input: Tensor;
  readonly filter: Tensor;
  readonly bias: Float32Array | undefined;
  readonly add: Float32Array | undefined;
  readonly options: Options;
  readonly outputShape: readonly number[];
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

export function problemOf({
  image,
  filter,
  options,
  seed,
  hasBias,
  hasAdd,
  threads,
}: Drawn): Problem {
  setThreads(threads);
  const draw = new Draw(seed);
  const tensor = (shape: readonly number[]) => ({ shape, data: draw.floats(sizeOf(shape)) });
  const input = tensor(toImageOrder(options.layout, image));
  const weights = tensor(toFilterOrder(options.filterLayout, filter));
  const { outputShape } = extentsOf({ input, filter: weights, ...options });
  return {
    ...{ input, filter: weights, options, outputShape },
    bias: hasBias ? draw.floats(filter[0]) : undefined,
    add: hasAdd ? draw.floats(sizeOf(outputShape)) : undefined,
  };
}
