import type { GoldenProblem } from '../test/golden/extents.js';
import { Draw } from '../test/random.js';
import { type BenchLayer, outputShapeOf } from './layers.js';

type Shape = readonly [number, number, number, number];

/** A layer with its numbers, which every driver is given alike. */
export interface Workload {
  readonly layer: BenchLayer;
  /** [N, C, H, W] */
  readonly input: { readonly data: Float32Array; readonly shape: Shape };
  /** [OC, C/G, KH, KW] */
  readonly filter: { readonly data: Float32Array; readonly shape: Shape };
  readonly bias: Float32Array;
  /** [N, OC, OH, OW] */
  readonly outputShape: Shape;
}

export function makeWorkload(layer: BenchLayer): Workload {
  const { batch, C, H, W, OC, KH, KW, groups } = layer;
  const draw = new Draw(1);
  const tensor = (shape: Shape) => ({ shape, data: draw.floats(sizeOf(shape)) });
  return {
    layer,
    input: tensor([batch, C, H, W]),
    filter: tensor([OC, C / groups, KH, KW]),
    bias: draw.floats(OC),
    outputShape: outputShapeOf(layer),
  };
}

/** The same in the terms of the golden reference. */
export function problemOf({ layer, input, filter, bias }: Workload): GoldenProblem {
  const { stride, dilation, padding, groups } = layer;
  return {
    ...{ input, filter, bias, padding, groups },
    stride: [stride, stride],
    dilation: [dilation, dilation],
  };
}

export function sizeOf(shape: Shape): number {
  return shape.reduce((a, b) => a * b);
}

/** [batch, rows, columns] to [batch, columns, rows] */
export function transposed(
  data: Float32Array,
  batch: number,
  rows: number,
  columns: number,
): Float32Array {
  const result = new Float32Array(data.length);
  let next = 0;
  for (let n = 0; n < batch; n++) {
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < rows; row++) {
        result[next++] = data[(n * rows + row) * columns + column] as number;
      }
    }
  }
  return result;
}
