import { type Algorithm, Conv2d, setThreads } from 'gemmconv';
import { sizeOf } from '../workload.js';
import { type Driver, nchwOutput } from './driver.js';

interface Choices {
  readonly algorithm?: Algorithm;
  /** A new output array for each call. */
  readonly fresh?: boolean;
}

/** This library, as a server would use it: a layer made once, an output array used again. */
export function nativeDriver(threads: number, choices: Choices = {}): Driver {
  const { algorithm = 'auto', fresh = false } = choices;
  return {
    name: `native ${threads}t${fresh ? ' fresh' : ''}`,
    threads,
    async prepare(workload) {
      const { input, filter, bias, outputShape } = workload;
      const { stride, padding, dilation, groups } = workload.layer;
      const options = { bias, stride, padding, dilation, groups, algorithm };
      const layer = new Conv2d(filter, options);
      let out = new Float32Array(sizeOf(outputShape));
      const call = { out };
      return {
        enter: () => setThreads(threads),
        run: () => {
          if (fresh) out = layer.runSync(input).data as Float32Array<ArrayBuffer>;
          else layer.runSync(input, call);
        },
        output: () => nchwOutput(out, workload),
        dispose: () => layer.dispose(),
      };
    },
  };
}
