import { finish32, finish64 } from './epilogue.js';
import { type Extents, extentsOf, type GoldenProblem } from './extents.js';
import { fma } from './fma.js';

export type Arithmetic = 'fma32' | 'twice32' | 'float64';

/** What `algorithm: 'exact'` gives, to the last bit: on an instruction set with FMA, or without. */
export interface Golden32 {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** The result in double, and what its error is measured against. */
export interface Golden64 {
  readonly data: Float64Array;
  /** Σ|input · filter| + |bias| + |add| of each output. */
  readonly magnitude: Float64Array;
  readonly shape: readonly number[];
}

/**
 * output[n, oc, oh, ow] = activation(Σ input[n, g·CG + kc, h, w] · filter[oc, kc, kh, kw]
 *                                    + bias[oc] + add[n, oc, oh, ow])
 *   with h = oh·strideH − padTop + kh·dilationH, w = ow·strideW − padLeft + kw·dilationW,
 *   over those kc, kh, kw whose (h, w) lies inside the image, and g the group of oc.
 *
 * `fma32` sums by one chain of float32 FMAs, from +0, kc outermost and kw innermost, and rounds
 * each later operation to float32; `twice32` rounds each product, too, before it is added; `float64`
 * computes in double throughout.
 */
export function goldenConv2d(problem: GoldenProblem, arithmetic: 'fma32' | 'twice32'): Golden32;
export function goldenConv2d(problem: GoldenProblem, arithmetic: 'float64'): Golden64;
export function goldenConv2d(problem: GoldenProblem, arithmetic: Arithmetic): Golden32 | Golden64 {
  const extents = extentsOf(problem);
  const shape = extents.outputShape;
  const size = shape.reduce((a, b) => a * b);
  const { bias, add, activation = 'none' } = problem;
  if (arithmetic !== 'float64') {
    const data = new Float32Array(size);
    forEachOutput(extents, (i, n, oc, oh, ow) => {
      const sum = outputSum(problem, extents, n, oc, oh, ow, arithmetic);
      data[i] = finish32(sum, bias?.[oc] ?? 0, add?.[i], activation);
    });
    return { data, shape };
  }
  const data = new Float64Array(size);
  const magnitude = new Float64Array(size);
  const magnitudes = magnitudesOf(problem);
  forEachOutput(extents, (i, n, oc, oh, ow) => {
    const sum = outputSum(problem, extents, n, oc, oh, ow, 'float64');
    data[i] = finish64(sum + (bias?.[oc] ?? 0) + (add?.[i] ?? 0), activation);
    const sumOfMagnitudes = outputSum(magnitudes, extents, n, oc, oh, ow, 'float64');
    magnitude[i] = sumOfMagnitudes + Math.abs(bias?.[oc] ?? 0) + Math.abs(add?.[i] ?? 0);
  });
  return { data, magnitude, shape };
}

/** The problem whose sums are Σ|input · filter|. */
export function magnitudesOf(problem: GoldenProblem): GoldenProblem {
  const { input, filter } = problem;
  return {
    ...problem,
    input: { ...input, data: input.data.map(Math.abs) },
    filter: { ...filter, data: filter.data.map(Math.abs) },
  };
}

/** The four outer loops: calls `visit` with the index and the coordinates of every output. */
function forEachOutput(
  { batch, OC, OH, OW, outputAt: at }: Extents,
  visit: (index: number, n: number, oc: number, oh: number, ow: number) => void,
): void {
  for (let n = 0; n < batch; n++) {
    for (let oc = 0; oc < OC; oc++) {
      for (let oh = 0; oh < OH; oh++) {
        for (let ow = 0; ow < OW; ow++) {
          visit(n * at.n + oc * at.c + oh * at.h + ow * at.w, n, oc, oh, ow);
        }
      }
    }
  }
}

/** The three inner loops: the sum of one output, before bias. */
export function outputSum(
  { input: { data: x }, filter: { data: f } }: GoldenProblem,
  extents: Extents,
  n: number,
  oc: number,
  oh: number,
  ow: number,
  arithmetic: Arithmetic,
): number {
  const { CG, OCG, H, W, KH, KW, dilationH, dilationW, inputAt, filterAt } = extents;
  const firstChannel = Math.floor(oc / OCG) * CG;
  const top = oh * extents.strideH - extents.padTop;
  const left = ow * extents.strideW - extents.padLeft;
  let sum = 0;
  for (let kc = 0; kc < CG; kc++) {
    for (let kh = 0; kh < KH; kh++) {
      const h = top + kh * dilationH;
      if (h < 0 || h >= H) continue;
      const inputRow = n * inputAt.n + (firstChannel + kc) * inputAt.c + h * inputAt.h;
      const filterRow = oc * filterAt.oc + kc * filterAt.c + kh * filterAt.kh;
      for (let kw = 0; kw < KW; kw++) {
        const w = left + kw * dilationW;
        if (w < 0 || w >= W) continue;
        const a = x[inputRow + w * inputAt.w] as number;
        const b = f[filterRow + kw * filterAt.kw] as number;
        if (arithmetic === 'fma32') sum = fma(a, b, sum);
        else if (arithmetic === 'float64') sum += a * b;
        else sum = Math.fround(sum + Math.fround(a * b));
      }
    }
  }
  return sum;
}
