import { transposed, type Workload } from '../workload.js';
import { type Driver, nhwcOutput } from './driver.js';
import { loadPeer } from './peers.js';

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

interface TfConv2d {
  readonly x: TfTensor;
  readonly filter: TfTensor;
  readonly bias: TfTensor;
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  readonly pad: 'valid' | readonly (readonly [number, number])[];
}

/** As much of TensorFlow.js as is used here. */
interface TensorFlow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor1d(data: Float32Array): TfTensor;
  tensor4d(data: Float32Array, shape: readonly number[]): TfTensor;
  env(): { set(flag: string, value: boolean): void };
  readonly fused: {
    conv2d(options: TfConv2d): TfTensor;
    depthwiseConv2d(options: TfConv2d): TfTensor;
  };
}

/**
 * Undefined if it is not installed. At its best: NHWC, its own layout, with SIMD, bias fused; it
 * has threads in browsers only. The clock covers reading the result out of the WebAssembly heap,
 * which is how a user gets at it.
 */
export async function tfjsWasmDriver(maxMacs: number): Promise<Driver | undefined> {
  const core = loadPeer('@tensorflow/tfjs-core');
  const backend = loadPeer('@tensorflow/tfjs-backend-wasm');
  if (core === undefined || backend === undefined) return undefined;
  const tf = core.module as TensorFlow;
  // Or it prints an advertisement for tfjs-node.
  tf.env().set('IS_TEST', true);
  await tf.setBackend('wasm');
  await tf.ready();
  return {
    name: 'tfjs-wasm',
    threads: 1,
    version: `tfjs-backend-wasm ${backend.version}`,
    maxMacs,
    async prepare(workload) {
      const { groups, C, OC } = workload.layer;
      const depthwise = groups > 1 && groups === C && groups === OC;
      // It has no grouped convolution.
      if (groups > 1 && !depthwise) return undefined;
      const convolve = depthwise ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
      const options = convolutionOptions(tf, workload, depthwise);
      let data = new Float32Array(0);
      return {
        run: () => {
          const y = convolve(options);
          data = y.dataSync() as Float32Array<ArrayBuffer>;
          y.dispose();
        },
        output: () => nhwcOutput(data, workload),
        dispose: () => {
          for (const tensor of [options.x, options.filter, options.bias]) tensor.dispose();
        },
      };
    },
  };
}

function convolutionOptions(tf: TensorFlow, workload: Workload, depthwise: boolean): TfConv2d {
  const { layer, input, filter, bias } = workload;
  const { stride, dilation, padding } = layer;
  const [N, C, H, W] = input.shape;
  const [OC, CG, KH, KW] = filter.shape;
  const pixels = transposed(input.data, N, C, H * W);
  // [OC, C, KH, KW] to [KH, KW, C, OC]; depthwise, [C, 1, KH, KW] to [KH, KW, C, 1].
  const taps = transposed(filter.data, 1, OC * CG, KH * KW);
  const hwio = depthwise ? taps : transposed(taps, KH * KW, OC, CG);
  const { top, left, bottom, right } = padding;
  return {
    x: tf.tensor4d(pixels, [N, H, W, C]),
    filter: tf.tensor4d(hwio, depthwise ? [KH, KW, OC, 1] : [KH, KW, CG, OC]),
    bias: tf.tensor1d(bias),
    strides: [stride, stride],
    dilations: [dilation, dilation],
    pad:
      top + left + bottom + right === 0
        ? 'valid'
        : [
            [0, 0],
            [top, bottom],
            [left, right],
            [0, 0],
          ],
  };
}
