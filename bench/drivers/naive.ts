import { sizeOf, type Workload } from '../workload.js';
import { type Driver, nchwOutput } from './driver.js';

/** The definition as a JavaScript programmer would write it first: seven loops. */
export function naiveDriver(maxMacs: number): Driver {
  return {
    name: 'naive TS',
    threads: 1,
    maxMacs,
    async prepare(workload) {
      const output = new Float32Array(sizeOf(workload.outputShape));
      return {
        run: () => naiveConv2d(workload, output),
        output: () => nchwOutput(output, workload),
      };
    },
  };
}

function naiveConv2d({ layer, input, filter, bias, outputShape }: Workload, output: Float32Array) {
  const { C, H, W, KH, KW, stride, padding, dilation, groups } = layer;
  const [batch, OC, OH, OW] = outputShape;
  const CG = C / groups;
  const x = input.data;
  const f = filter.data;
  let next = 0;
  for (let n = 0; n < batch; n++) {
    for (let oc = 0; oc < OC; oc++) {
      const firstChannel = Math.floor(oc / (OC / groups)) * CG;
      for (let oh = 0; oh < OH; oh++) {
        for (let ow = 0; ow < OW; ow++) {
          let sum = bias[oc] as number;
          for (let c = 0; c < CG; c++) {
            for (let kh = 0; kh < KH; kh++) {
              const h = oh * stride - padding.top + kh * dilation;
              if (h < 0 || h >= H) continue;
              const inputRow = ((n * C + firstChannel + c) * H + h) * W;
              const filterRow = ((oc * CG + c) * KH + kh) * KW;
              for (let kw = 0; kw < KW; kw++) {
                const w = ow * stride - padding.left + kw * dilation;
                if (w < 0 || w >= W) continue;
                sum += (x[inputRow + w] as number) * (f[filterRow + kw] as number);
              }
            }
          }
          output[next++] = sum;
        }
      }
    }
  }
}
