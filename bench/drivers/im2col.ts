import type { BenchLayer } from '../layers.js';
import { sizeOf, type Workload } from '../workload.js';
import { type Driver, nchwOutput } from './driver.js';

/** The textbook step up: lay every patch out as a column, then one matrix product a group. */
export function im2colDriver(maxMacs: number): Driver {
  return {
    name: 'im2col+GEMM TS',
    threads: 1,
    maxMacs,
    async prepare(workload) {
      const { outputShape, filter } = workload;
      const [, CG, KH, KW] = filter.shape;
      const output = new Float32Array(sizeOf(outputShape));
      const pixels = outputShape[2] * outputShape[3];
      const columns = new Float32Array(CG * KH * KW * pixels);
      return {
        run: () => im2colConv2d(workload, columns, output),
        output: () => nchwOutput(output, workload),
      };
    },
  };
}

function im2colConv2d(workload: Workload, columns: Float32Array, output: Float32Array): void {
  const { layer, input, filter, bias, outputShape } = workload;
  const { batch, C, OC, H, W, KH, KW, groups } = layer;
  const [, , OH, OW] = outputShape;
  const N = OH * OW;
  const M = OC / groups;
  const K = (C / groups) * KH * KW;
  for (let n = 0; n < batch; n++) {
    for (let g = 0; g < groups; g++) {
      const firstChannel = n * C + (g * C) / groups;
      im2col(layer, input.data.subarray(firstChannel * H * W), OH, OW, columns);
      const c = output.subarray((n * OC + g * M) * N, (n * OC + (g + 1) * M) * N);
      for (let m = 0; m < M; m++) c.fill(bias[g * M + m] as number, m * N, (m + 1) * N);
      gemm(M, N, K, filter.data.subarray(g * M * K), columns, c);
    }
  }
}

/** columns[(c, kh, kw), (oh, ow)] = the input under tap (c, kh, kw) of pixel (oh, ow), or 0. */
function im2col(
  { C, H, W, KH, KW, stride, padding, dilation, groups }: BenchLayer,
  input: Float32Array,
  OH: number,
  OW: number,
  columns: Float32Array,
): void {
  let next = 0;
  for (let c = 0; c < C / groups; c++) {
    for (let kh = 0; kh < KH; kh++) {
      for (let kw = 0; kw < KW; kw++) {
        for (let oh = 0; oh < OH; oh++) {
          const h = oh * stride - padding.top + kh * dilation;
          const row = (c * H + h) * W;
          for (let ow = 0; ow < OW; ow++) {
            const w = ow * stride - padding.left + kw * dilation;
            const inside = h >= 0 && h < H && w >= 0 && w < W;
            columns[next++] = inside ? (input[row + w] as number) : 0;
          }
        }
      }
    }
  }
}

/** Columns of a block: four rows of C and one of B in 10 KB, within any L1. */
const NC = 512;

/** C[M×N] += A[M×K] · B[K×N], row-major; four rows at a time, so that B is read M/4 times. */
function gemm(
  M: number,
  N: number,
  K: number,
  a: Float32Array,
  b: Float32Array,
  c: Float32Array,
): void {
  for (let jc = 0; jc < N; jc += NC) {
    const end = Math.min(jc + NC, N);
    let i = 0;
    for (; i + 4 <= M; i += 4) fourRows(i, jc, end, N, K, a, b, c);
    for (; i < M; i++) oneRow(i, jc, end, N, K, a, b, c);
  }
}

function fourRows(
  i: number,
  begin: number,
  end: number,
  N: number,
  K: number,
  a: Float32Array,
  b: Float32Array,
  c: Float32Array,
): void {
  const [r0, r1, r2, r3] = [i * N, (i + 1) * N, (i + 2) * N, (i + 3) * N];
  for (let k = 0; k < K; k++) {
    const a0 = a[i * K + k] as number;
    const a1 = a[(i + 1) * K + k] as number;
    const a2 = a[(i + 2) * K + k] as number;
    const a3 = a[(i + 3) * K + k] as number;
    for (let j = begin; j < end; j++) {
      const value = b[k * N + j] as number;
      c[r0 + j] = (c[r0 + j] as number) + a0 * value;
      c[r1 + j] = (c[r1 + j] as number) + a1 * value;
      c[r2 + j] = (c[r2 + j] as number) + a2 * value;
      c[r3 + j] = (c[r3 + j] as number) + a3 * value;
    }
  }
}

function oneRow(
  i: number,
  begin: number,
  end: number,
  N: number,
  K: number,
  a: Float32Array,
  b: Float32Array,
  c: Float32Array,
): void {
  for (let k = 0; k < K; k++) {
    const value = a[i * K + k] as number;
    for (let j = begin; j < end; j++) {
      c[i * N + j] = (c[i * N + j] as number) + value * (b[k * N + j] as number);
    }
  }
}
