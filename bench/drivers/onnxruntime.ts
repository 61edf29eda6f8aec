import { sizeOf } from '../workload.js';
import { type Driver, nchwOutput } from './driver.js';
import { onnxModel } from './onnx-model.js';
import { loadPeer } from './peers.js';

interface OrtTensor {
  readonly data: Float32Array;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>, fetches: Record<string, OrtTensor>): Promise<unknown>;
  release(): Promise<void>;
}

/** As much of onnxruntime-node as is used here. */
interface OnnxRuntime {
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<OrtSession>;
  };
}

/**
 * Undefined if it is not installed. At its best: every graph optimisation (it then moves most
 * layers to its blocked layout and back), its own number of threads, an output tensor used again.
 */
export function onnxruntimeDriver(threads: number): Driver | undefined {
  const peer = loadPeer('onnxruntime-node');
  if (peer === undefined) return undefined;
  const ort = peer.module as OnnxRuntime;
  const sessionOptions = {
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Errors alone: it warns about CPUs it does not recognise.
    logSeverityLevel: 3,
  };
  return {
    name: `ort ${threads}t`,
    threads,
    version: `onnxruntime-node ${peer.version}`,
    async prepare(workload) {
      const { input, outputShape } = workload;
      const session = await ort.InferenceSession.create(onnxModel(workload), sessionOptions);
      const output = new Float32Array(sizeOf(outputShape));
      const feeds = { x: new ort.Tensor('float32', input.data, input.shape) };
      const fetches = { y: new ort.Tensor('float32', output, outputShape) };
      return {
        run: async () => {
          await session.run(feeds, fetches);
        },
        output: () => nchwOutput(output, workload),
        dispose: () => session.release(),
      };
    },
  };
}
