import { type Algorithm, Conv2d, type Layout, setThreads } from 'gemmconv';
import { sizeOf, transposed, type Workload } from '../workload.js';
import { type Driver, nchwOutput, nhwcOutput } from './driver.js';

interface Choices {
  readonly algorithm?: Algorithm;
  readonly layout?: Layout;
  /** A new output array for each call. */
  readonly fresh?: boolean;
}

/** This library, as a server would use it: a layer made once, an output array used again. */
export function nativeDriver(threads: number, choices: Choices = {}): Driver {
  const { algorithm = 'auto', layout = 'nchw', fresh = false } = choices;
  return {
    name: `native ${threads}t${fresh ? ' fresh' : ''}`,
    threads,
    async prepare(workload) {
      setThreads(threads);
      const { layer, shape } = layerIn(layout, workload, algorithm);
      const { input: image, outputShape } = workload;
      const [N, C, H, W] = image.shape;
      const data = layout === 'nchw' ? image.data : transposed(image.data, N, C, H * W);
      const input = { data, shape };
      let out = new Float32Array(sizeOf(outputShape));
      const call = { out };
      return {
        plan: layer.plan(shape),
        enter: () => setThreads(threads),
        run: () => {
          if (fresh) out = layer.runSync(input).data as Float32Array<ArrayBuffer>;
          else layer.runSync(input, call);
        },
        output: () => (layout === 'nchw' ? nchwOutput : nhwcOutput)(out, workload),
        dispose: () => layer.dispose(),
      };
    },
  };
}

/** The workload's layer, and its input's shape, in the layout. */
export function layerIn(
  layout: Layout,
  {
    layer,
    input,
    filter,
    bias,
  }: Pick<Workload, 'layer' | 'filter' | 'bias'> & {
    readonly input: Pick<Workload['input'], 'shape'>;
  },
  algorithm: Algorithm,
): { readonly layer: Conv2d; readonly shape: readonly number[] } {
  const { stride, padding, dilation, groups } = layer;
  const [N, C, H, W] = input.shape;
  const options = { bias, stride, padding, dilation, groups, layout, algorithm };
  const shape = layout === 'nchw' ? [N, C, H, W] : [N, H, W, C];
  return { layer: new Conv2d(filter, options), shape };
}
