/**
 * The boundary: everything the native addon exports, and nothing else.
 *
 * TypeScript has validated every value before it gets here; the addon converts and calls.
 * Problems cross as one flat Float64Array (an object of fields costs ten times as much to read,
 * and 32-bit integers cannot hold every legal extent).
 */
export interface Binding {
  /**
   * Decides how to compute a problem. The plan is plain data in a buffer that JS owns, so that
   * the garbage collector sees its true size and no finalizer is needed. Never show it to users:
   * the addon trusts its bytes.
   *
   * @param problem `PROBLEM_FIELDS` numbers, in the order of `ProblemField`.
   * @returns the plan; null when the asked-for algorithm cannot do the problem.
   */
  makePlan(problem: Float64Array): ArrayBuffer | null;
  describePlan(plan: ArrayBuffer): PlanDescription;

  /**
   * Packs the filter and the bias into the layout that `plan` reads.
   *
   * @param bias OC values; null for zeros.
   * @param packed `PlanDescription.packedBytes` bytes.
   */
  packFilter(
    plan: ArrayBuffer,
    filter: Float32Array,
    bias: Float32Array | null,
    packed: ArrayBuffer,
  ): void;

  /**
   * Computes on the calling thread and the pool.
   *
   * @returns false, with `output` untouched, when a view has become too short for the problem
   *   (its buffer was detached or shrunk after validation).
   */
  runSync(
    plan: ArrayBuffer,
    packed: ArrayBuffer,
    input: Float32Array,
    add: Float32Array | null,
    output: Float32Array,
  ): boolean;

  /**
   * The same off the event loop. `input` and `add` are copied before this returns, so the caller
   * may do anything with them. `output` must be private to us until the promise resolves.
   *
   * @param ticket a number of the caller's choice, unique among its pending calls, for `cancel`.
   * @returns a promise of true (computed) or false (cancelled); null when a view has become too
   *   short for the problem.
   */
  runAsync(
    plan: ArrayBuffer,
    packed: ArrayBuffer,
    input: Float32Array,
    add: Float32Array | null,
    output: ArrayBuffer,
    ticket: number,
  ): Promise<boolean> | null;

  /** Drops a queued call, stops a running one at its next slice. Unknown tickets are ignored. */
  cancel(ticket: number): void;

  info(): NativeInfo;
  /** Threads a plan may use, 1 or more. */
  setThreads(threads: number): void;
  getThreads(): number;
  /** Makes later plans use this ISA. False when it is unknown or this CPU cannot run it. */
  setIsa(isa: string): boolean;
  /** Restricts later plans to one of `NativeInfo.variants`; '' lifts that. False when unknown. */
  setVariant(variant: string): boolean;
}

/** Index of each number in the `problem` argument of `makePlan`. */
export type ProblemField =
  | 'batch' // 0
  | 'channels'
  | 'height'
  | 'width'
  | 'outChannels'
  | 'kernelHeight' // 5
  | 'kernelWidth'
  | 'groups'
  | 'strideHeight'
  | 'strideWidth'
  | 'dilationHeight' // 10
  | 'dilationWidth'
  | 'padTop'
  | 'padLeft'
  | 'outHeight'
  | 'outWidth' // 15
  | 'layout' // 0 nchw, 1 nhwc
  | 'filterLayout' // 0 oihw, 1 hwio
  | 'activation' // index into ACTIVATIONS of lib/problem.ts
  | 'activationMin' // lower clamp bound, or leakyRelu's alpha
  | 'activationMax' // 20
  | 'algorithm' // 0 auto, 1 exact, 2 gemm, 3 direct, 4 depthwise, 5 winograd
  | 'fragile'; // 1 when the filter holds a value that is not finite, or the bias a -0

export interface PlanDescription {
  algorithm: 'gemm' | 'direct' | 'depthwise' | 'winograd';
  /** One of `NativeInfo.variants`. */
  variant: string;
  isa: string;
  threads: number;
  /** Register tile of the microkernel. */
  tile: { mr: number; nr: number };
  /** Cache blocks, and which side of the GEMM the vector lanes hold. */
  blocks: { mc: number; kc: number; nc: number; lanes: 'pixels' | 'channels' };
  /** Scratch memory a call uses besides its tensors, all threads together. */
  workspaceBytes: number;
  /** Floating-point operations, 2 per multiply-accumulate, padded taps counted. */
  flops: number;
  packedBytes: number;
  /** Plans of one layer with the same value read the same packed filter. */
  packedFormat: number;
}

export interface NativeInfo {
  isa: string;
  isas: string[];
  /** Everything a plan chooses between: the algorithms, those that come in variants one by one. */
  variants: string[];
  /** Cores this process may use: affinity mask and cgroup quota applied. */
  cores: number;
  cacheBytes: { l1: number; l2: number; l3: number };
}
