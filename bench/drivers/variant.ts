import { type Layout, setThreads } from 'gemmconv';
import { setVariant } from '../internals.js';
import { canPlan } from '../plannable.js';
import { sizeOf, transposed, type Workload } from '../workload.js';
import { type Driver, nchwOutput, nhwcOutput } from './driver.js';
import { layerIn } from './native.js';

/** This library made to use one variant of an algorithm. */
export function variantDriver(variant: string, layout: Layout, threads: number): Driver {
  return {
    name: `${variant} ${layout}`,
    threads,
    async prepare(workload) {
      const { layer, shape } = layerIn(layout, workload, 'auto');
      setThreads(threads);
      setVariant(variant);
      if (!canPlan(layer, shape)) return undefined;
      const [N, C, H, W] = workload.input.shape;
      const pixels = workload.input.data;
      const input = { data: layout === 'nchw' ? pixels : transposed(pixels, N, C, H * W), shape };
      const out = new Float32Array(sizeOf(workload.outputShape));
      const call = { out };
      return {
        enter: () => setVariant(variant),
        run: () => {
          layer.runSync(input, call);
        },
        output: () => (layout === 'nchw' ? nchwOutput : nhwcOutput)(out, workload),
        dispose: () => layer.dispose(),
      };
    },
  };
}

/** The variant that is chosen for the workload; among the exact ones if asked so. */
export function variantChosen(
  algorithm: 'auto' | 'exact',
  layout: Layout,
  workload: Workload,
): string {
  setVariant(null);
  const { layer, shape } = layerIn(layout, workload, algorithm);
  return layer.plan(shape).variant;
}

/** Those whose sums are the exact chain. */
export function exactVariants(
  candidates: readonly string[],
  layout: Layout,
  workload: Workload,
): string[] {
  const { layer, shape } = layerIn(layout, workload, 'exact');
  return candidates.filter((variant) => {
    setVariant(variant);
    return canPlan(layer, shape);
  });
}
