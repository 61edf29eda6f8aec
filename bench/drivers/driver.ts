import type { Conv2dPlan } from 'gemmconv';
import type { Workload } from '../workload.js';

/** A competitor. Adding one is adding a file that exports one, and a line in the runner. */
export interface Driver {
  /** The column's title. */
  readonly name: string;
  readonly threads: number;
  /** Package and version, of those that have one. */
  readonly version?: string;
  /** Largest workload it finishes in reasonable time, in multiply-accumulates. */
  readonly maxMacs?: number;
  /**
   * Does all that a user does once: packs, compiles, moves the tensors where they must be.
   *
   * @returns undefined if it cannot do the layer.
   */
  prepare(workload: Workload): Promise<Prepared | undefined>;
}

export interface Prepared {
  /** How it is computed, of this library's own. */
  readonly plan?: Conv2dPlan;
  /** Called before each run of timings, outside the clock. */
  enter?(): void;
  /** One convolution, from an input in memory to an output in memory. */
  run(): void | Promise<void>;
  /** What the last `run` gave. */
  output(): Output;
  dispose?(): void | Promise<void>;
}

export interface Output {
  at(n: number, oc: number, oh: number, ow: number): number;
}

/** Reads an output that lies in memory as [N, OC, OH, OW]. */
export function nchwOutput(data: Float32Array, { outputShape }: Workload): Output {
  const [, OC, OH, OW] = outputShape;
  return { at: (n, oc, oh, ow) => data[((n * OC + oc) * OH + oh) * OW + ow] as number };
}

/** Reads an output that lies in memory as [N, OH, OW, OC]. */
export function nhwcOutput(data: Float32Array, { outputShape }: Workload): Output {
  const [, OC, OH, OW] = outputShape;
  return { at: (n, oc, oh, ow) => data[((n * OH + oh) * OW + ow) * OC + oc] as number };
}
