import { type Algorithm, Conv2d, setThreads } from 'gemmconv';
import { sizeOf } from '../workload.js';
import { type Driver, nchwOutput } from './driver.js';

/** This library, as a server would use it: a layer made once, an output array used again. */
export function nativeDriver(threads: number, algorithm: Algorithm = 'auto'): Driver {
  return {
    name: `native ${threads}t`,
    threads,
    async prepare(workload) {
      const { input, filter, bias, outputShape } = workload;
      const { stride, padding, dilation, groups } = workload.layer;
      const options = { bias, stride, padding, dilation, groups, algorithm };
      const layer = new Conv2d(filter, options);
      const out = new Float32Array(sizeOf(outputShape));
      const call = { out };
      return {
        enter: () => setThreads(threads),
        run: () => {
          layer.runSync(input, call);
        },
        output: () => nchwOutput(out, workload),
        dispose: () => layer.dispose(),
      };
    },
  };
}
