import type { Activation, FilterLayout, Layout, Tensor } from 'gemmconv';

/** A convolution in the plain terms of its definition. What is left out is 1, 0 or none. */
export interface GoldenProblem {
  readonly input: Tensor;
  readonly filter: Tensor;
  readonly bias?: Float32Array | undefined;
  /** Residual of the output's shape. */
  readonly add?: Float32Array | undefined;
  readonly stride?: readonly [height: number, width: number];
  readonly dilation?: readonly [height: number, width: number];
  readonly padding?: {
    readonly top: number;
    readonly left: number;
    readonly bottom: number;
    readonly right: number;
  };
  readonly groups?: number;
  readonly activation?: Activation;
  readonly layout?: Layout;
  readonly filterLayout?: FilterLayout;
}

/** Elements from one index of an axis to the next: (n, c, h, w) lies at n·at.n + … + w·at.w. */
type ImageStrides = Readonly<Record<'n' | 'c' | 'h' | 'w', number>>;
type FilterStrides = Readonly<Record<'oc' | 'c' | 'kh' | 'kw', number>>;

/** Sizes of a problem, and where its elements lie. */
export interface Extents {
  readonly batch: number;
  readonly C: number;
  readonly H: number;
  readonly W: number;
  readonly OC: number;
  readonly OH: number;
  readonly OW: number;
  readonly KH: number;
  readonly KW: number;
  /** Channels, and output channels, of one group. */
  readonly CG: number;
  readonly OCG: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly inputAt: ImageStrides;
  readonly filterAt: FilterStrides;
  readonly outputAt: ImageStrides;
  readonly outputShape: readonly number[];
}

type Four = readonly [number, number, number, number];

export function extentsOf(problem: GoldenProblem): Extents {
  const { layout = 'nchw', filterLayout = 'oihw', groups = 1 } = problem;
  const [strideH, strideW] = problem.stride ?? [1, 1];
  const [dilationH, dilationW] = problem.dilation ?? [1, 1];
  const { top, left, bottom, right } = problem.padding ?? { top: 0, left: 0, bottom: 0, right: 0 };
  const [batch, C, H, W] = fromImageOrder(layout, problem.input.shape as Four);
  const [OC, CG, KH, KW] = fromFilterOrder(filterLayout, problem.filter.shape as Four);
  const OH = Math.floor((H + top + bottom - dilationH * (KH - 1) - 1) / strideH) + 1;
  const OW = Math.floor((W + left + right - dilationW * (KW - 1) - 1) / strideW) + 1;
  const outputShape = toImageOrder(layout, [batch, OC, OH, OW]);
  return {
    ...{ batch, C, H, W, OC, OH, OW, KH, KW, CG, OCG: OC / groups },
    ...{ strideH, strideW, dilationH, dilationW, padTop: top, padLeft: left },
    inputAt: imageStrides(layout, problem.input.shape as Four),
    filterAt: filterStrides(filterLayout, problem.filter.shape as Four),
    outputAt: imageStrides(layout, outputShape),
    outputShape,
  };
}

function fromImageOrder(layout: Layout, [a, b, c, d]: Four): Four {
  return layout === 'nchw' ? [a, b, c, d] : [a, d, b, c];
}

export function toImageOrder(layout: Layout, [n, c, h, w]: Four): Four {
  return layout === 'nchw' ? [n, c, h, w] : [n, h, w, c];
}

function fromFilterOrder(layout: FilterLayout, [a, b, c, d]: Four): Four {
  return layout === 'oihw' ? [a, b, c, d] : [d, c, a, b];
}

export function toFilterOrder(layout: FilterLayout, [oc, c, kh, kw]: Four): Four {
  return layout === 'oihw' ? [oc, c, kh, kw] : [kh, kw, c, oc];
}

function imageStrides(layout: Layout, shape: Four): ImageStrides {
  const [n, c, h, w] = fromImageOrder(layout, rowMajor(shape));
  return { n, c, h, w };
}

function filterStrides(layout: FilterLayout, shape: Four): FilterStrides {
  const [oc, c, kh, kw] = fromFilterOrder(layout, rowMajor(shape));
  return { oc, c, kh, kw };
}

function rowMajor([, b, c, d]: Four): Four {
  return [b * c * d, c * d, d, 1];
}
