/**
 * The boundary: everything the native addon exports, and nothing else.
 *
 * TypeScript has validated every value before it gets here; the addon converts and calls.
 * Problems cross as one flat Float64Array (an object of fields costs ten times as much to read,
 * and 32-bit integers cannot hold every legal extent).
 */
export interface Binding {
  /** Of the package it was compiled for: another one's boundary may differ. */
  version: string;

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

  /** Whether a value of `filter` is not finite, or one of `bias` is -0. */
  isFragile(filter: Float32Array, bias: Float32Array | null): boolean;

  /** Computes on the calling thread and the pool. `output` is untouched unless it is done. */
  runSync(
    plan: ArrayBuffer,
    packed: ArrayBuffer,
    input: Float32Array,
    add: Float32Array | null,
    output: Float32Array,
  ): Outcome;

  /**
   * The same off the event loop. `input` and `add` are copied before this returns, so the caller
   * may do anything with them. `plan`, `packed` and `output` must stay alive, and `output` private
   * to us, until `takeFinished` has told of the call.
   *
   * @param output null to compute aside, for `collect`.
   * @param ticket names the call: a small integer of the caller's choice, of no other call that has
   *   not been taken, collected or cancelled yet.
   * @returns done when it was started.
   */
  runAsync(
    plan: ArrayBuffer,
    packed: ArrayBuffer,
    input: Float32Array,
    add: Float32Array | null,
    output: Float32Array | null,
    ticket: number,
  ): Outcome;

  /**
   * The first half of a `runAsync` that waits for a packing, or works in place on some of its arrays,
   * those that bits of `given` stand for: 1 `input`, 2 `add`, 4 `output`. Everything that can be refused is, here; the
   * others are copied. When it is done, `begin`, `forgo` or `cancel` must follow.
   *
   * @param output null to compute aside; or, where `given` holds it, when only `begin` is to have it.
   */
  admit(
    plan: ArrayBuffer,
    input: Float32Array,
    add: Float32Array | null,
    output: Float32Array | null,
    given: number,
    ticket: number,
  ): Outcome;

  /**
   * The second half. The arrays, those that `given` stood for and the output, may be others by now,
   * of the same length; nobody may detach or resize them until `takeFinished` has told of the call.
   *
   * @param packing ticket of the `packAsync` that fills `packed`; the call waits for it. -1 for none.
   * @returns whether the workers had no other call of this thread.
   */
  begin(
    ticket: number,
    packed: ArrayBuffer,
    input: Float32Array | null,
    add: Float32Array | null,
    output: Float32Array | null,
    packing: number,
  ): boolean;

  /** Lets go of a call that was only admitted, as if it had been refused. */
  forgo(ticket: number): void;

  /** `packFilter` off the event loop. All arrays must stay alive and unchanged meanwhile. */
  packAsync(
    plan: ArrayBuffer,
    filter: Float32Array,
    bias: Float32Array | null,
    packed: ArrayBuffer,
    ticket: number,
  ): Outcome;

  /** A task of the pool without work, for the bench: what the way there and back costs. */
  doNothing(ticket: number): Outcome;

  /** Has `callback` called, on the event loop, when there are calls to be taken. */
  onFinished(callback: () => void): void;

  /**
   * Writes ticket and outcome of finished calls into `list`, pair by pair: as many as fit, and as
   * the event loop should settle in one turn.
   *
   * @returns how many. Only after 0 will `onFinished` tell of more.
   */
  takeFinished(list: Int32Array): number;

  /** Copies the output of a call that was done, and computed aside, to `out`. */
  collect(ticket: number, out: Float32Array): Outcome;

  /**
   * Drops a call that was only admitted, or is queued, or stops a running one at its next slice.
   *
   * @returns true when the ticket is free again; false when `takeFinished` will still tell of it.
   */
  cancel(ticket: number): boolean;

  /** Bounds the calls that are pending in the whole process; Infinity for no bound. */
  setLimits(maxPending: number, maxPendingBytes: number): void;
  stats(): NativeStats;

  info(): NativeInfo;
  /** Threads a plan may use, 1 or more. Plans made before this are stale, in all environments. */
  setThreads(threads: number): void;
  getThreads(): number;
  /** The same for the ISA. False when it is unknown or this CPU cannot run it. */
  setIsa(isa: string): boolean;
  /** Restricts later plans to one of `NativeInfo.variants`; '' lifts that. False when unknown. */
  setVariant(variant: string): boolean;
}

/** Index into `OUTCOMES` of lib/outcomes.ts. */
export type Outcome = number;

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
  | 'algorithm' // index into ALGORITHMS of lib/problem.ts
  | 'fragile'; // 1 when the filter holds a value that is not finite, or the bias a -0

export interface PlanDescription {
  algorithm: 'gemm' | 'direct' | 'depthwise' | 'winograd';
  /** One of `NativeInfo.variants`. */
  variant: string;
  isa: string;
  threads: number;
  /** The largest register tile of the plan's microkernel. */
  tile: { mr: number; nr: number };
  /** Cache blocks, and which side of the GEMM the vector lanes hold. */
  blocks: { mc: number; kc: number; nc: number; lanes: 'pixels' | 'channels' };
  /** Scratch memory a call uses besides its tensors, all threads together. */
  workspaceBytes: number;
  /** Floating-point operations, 2 per multiply-accumulate, padded taps counted. */
  flops: number;
  /** What the cost model expects, from beginning to end, on `threads` threads. */
  estimatedCycles: number;
  packedBytes: number;
  /** Plans of one layer with the same value read the same packed filter. */
  packedFormat: number;
}

/** See `Stats` in lib/types.ts. */
export interface NativeStats {
  threads: number;
  pending: number;
  running: number;
  pendingBytes: number;
  completed: number;
  aborted: number;
  failed: number;
  refused: number;
  busyMs: number;
  maxPending: number;
  maxPendingBytes: number;
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
