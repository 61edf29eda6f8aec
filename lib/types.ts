/**
 * A dense tensor, row-major in its layout. Structural: any object with these two fields will do.
 */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Order of the axes of input, output and `add`: [N, C, H, W] or [N, H, W, C]. */
export type Layout = 'nchw' | 'nhwc';

/** Order of the filter's axes: [OC, C/G, KH, KW] or [KH, KW, C/G, OC]. */
export type FilterLayout = 'oihw' | 'hwio';

/**
 * Rows and columns added around the image. A padded tap contributes nothing to the sum.
 * `'same'` gives OH = ceil(H / stride) and puts the odd element at the end, `'same-lower'` at the
 * beginning; `'valid'` adds none.
 */
export type Padding =
  | number
  | readonly [height: number, width: number]
  | { readonly top: number; readonly left: number; readonly bottom: number; readonly right: number }
  | 'valid'
  | 'same'
  | 'same-lower';

/**
 * Applied last, after bias and residual. NaN passes through every one of them.
 *
 * - `relu` max(v, 0), `relu6` clamp to [0, 6]
 * - `sigmoid` 1 / (1 + exp(-v)), `tanh`, `silu` v · sigmoid(v)
 * - `hardSwish` v · clamp(v + 3, 0, 6) / 6
 * - `leakyRelu` v < 0 ? alpha · v : v
 *
 * `sigmoid`, `tanh` and `silu` are within 3 ulp of the true value (silu: or within 2^-142, where its
 * sigmoid is denormal), with the same bits on every FMA instruction set. The others round once an
 * operation, as written.
 */
export type Activation =
  | 'none'
  | 'relu'
  | 'relu6'
  | 'silu'
  | 'hardSwish'
  | 'sigmoid'
  | 'tanh'
  | { readonly type: 'clamp'; readonly min: number; readonly max: number }
  | { readonly type: 'leakyRelu'; readonly alpha: number };

/**
 * - `auto` the fastest within the documented error bound
 * - `exact` the fastest of those whose every output is one FMA chain over (c, kh, kw) ascending:
 *   the same bits for any thread count, batch split and FMA instruction set
 * - `gemm` (packed implicit im2col + GEMM), `direct` (taps read in place) and `depthwise` (rows of
 *   one channel; C/G = 1, stride ≤ 4, windows up to 1024 pixels) force one, and it is an error when that cannot be; all three are
 *   exact
 * - `winograd` (3×3, stride 1, dilation ≤ 16, C/G ≤ 4096) is not: each output is within
 *   50 · 2^-24 · Σ|w| · max|x| of the true value, the largest input taken over its tile of 6×6, and
 *   an input that is not finite spreads over its tile. `auto` takes it where it is faster and its
 *   error, root mean square on N(0, 1) inputs, is at most twice that of the exact chain
 */
export type Algorithm = 'auto' | 'exact' | 'gemm' | 'direct' | 'depthwise' | 'winograd';

/** What a layer is built with. */
export interface Conv2dOptions {
  /** OC values added to every output pixel. @default zeros */
  readonly bias?: Float32Array | Tensor | undefined;
  /** Step between output pixels, n or [h, w], each ≥ 1. @default 1 */
  readonly stride?: number | readonly [number, number] | undefined;
  /** @default 0 */
  readonly padding?: Padding | undefined;
  /** Step between filter taps, n or [h, w], each ≥ 1. @default 1 */
  readonly dilation?: number | readonly [number, number] | undefined;
  /** Divides C and OC; `groups === C` is a depthwise convolution. @default 1 */
  readonly groups?: number | undefined;
  /** @default 'none' */
  readonly activation?: Activation | undefined;
  /** @default 'nchw' */
  readonly layout?: Layout | undefined;
  /** @default 'oihw' */
  readonly filterLayout?: FilterLayout | undefined;
  /** @default 'auto' */
  readonly algorithm?: Algorithm | undefined;
}

/** What one synchronous call takes besides its input. */
export interface RunSyncOptions {
  /** Residual of the output's shape, added before the activation. */
  readonly add?: Float32Array | Tensor | undefined;
  /** Memory to write the output to, instead of a new array. */
  readonly out?: Float32Array | Tensor | undefined;
}

/** What one asynchronous call takes besides its input. */
export interface RunOptions extends RunSyncOptions {
  /** Aborts the call: its promise rejects with the signal's reason (an `AbortError` by default). */
  readonly signal?: AbortSignal | undefined;
}

/** How a layer computes one input shape. */
export interface Conv2dPlan {
  readonly algorithm: 'gemm' | 'direct' | 'depthwise' | 'winograd';
  /** Which form of the algorithm, for those who compare speeds; names may change. */
  readonly variant: string;
  readonly isa: string;
  readonly threads: number;
  /** Register tile of the microkernel: `mr` rows by `nr` columns. */
  readonly tile: { readonly mr: number; readonly nr: number };
  /** Cache blocks of the GEMM, and which of its sides lies on the vector lanes. */
  readonly blocks: {
    readonly mc: number;
    readonly kc: number;
    readonly nc: number;
    readonly lanes: 'pixels' | 'channels';
  };
  /** Scratch memory `runSync` uses besides its tensors, all threads together. `run` also holds a
   * copy of its input (and of `add`) until it is done. */
  readonly workspaceBytes: number;
  /** Floating-point operations: 2 per multiply-accumulate, padded taps counted. */
  readonly flops: number;
  /**
   * What the cost model that chose the algorithm expects the busiest of `threads` threads to take,
   * in cycles of the CPU it was fitted on; main memory is not in it. For an expectation in
   * milliseconds, `npx gemmconv plan` calibrates it.
   */
  readonly estimatedCycles: number;
}

export interface Info {
  readonly version: string;
  /** Instruction set in use: the widest this CPU runs, or `GEMMCONV_ISA`. */
  readonly isa: string;
  readonly availableIsas: readonly string[];
  /** Cores this process may use: affinity mask and cgroup quota applied. */
  readonly cores: number;
  readonly threads: number;
  readonly cacheBytes: { readonly l1: number; readonly l2: number; readonly l3: number };
}

/** What the process as a whole, all its threads together, may have pending. */
export interface Limits {
  /** Calls of `run` that have not settled. @default Infinity */
  readonly maxPending?: number | undefined;
  /**
   * Memory they hold: copies of their inputs (and of `add`), and their outputs. However large, one
   * call is let in when none is pending. @default half of the memory the process may use
   */
  readonly maxPendingBytes?: number | undefined;
}

/** Calls of `run` in the whole process, all its threads together, since it began. */
export interface Stats {
  /** Threads that may compute. */
  readonly threads: number;
  /** Calls that have not settled. */
  readonly pending: number;
  /** Those of them that a thread has begun. */
  readonly running: number;
  /** Memory that the pending ones hold. */
  readonly pendingBytes: number;
  /** Calls that ended with a result, */
  readonly completed: number;
  /** by their signal, or with their worker, */
  readonly aborted: number;
  /** for lack of memory, or because `out` had changed, */
  readonly failed: number;
  /** and those that were refused because of a limit. */
  readonly refused: number;
  /** Time that the library's threads have spent computing, helping `runSync` included, added up. */
  readonly busyMs: number;
  /** As `setLimits` set it. */
  readonly maxPending: number;
  readonly maxPendingBytes: number;
}
