/**
 * A dense tensor. Structural: any object with these two fields will do, so those of other libraries
 * often fit as they are.
 */
export interface Tensor {
  /**
   * The values, row-major: the last axis of `shape` is contiguous. As many as the shape says, no
   * more and no fewer (`subarray` cuts a piece out of a larger array without a copy). A view of a
   * SharedArrayBuffer will do.
   */
  readonly data: Float32Array;
  /** Extents of the four axes, in the order that {@link Layout} or {@link FilterLayout} names. */
  readonly shape: readonly number[];
}

/**
 * Order of the axes of input, output and `add`.
 *
 * - `nchw` is [N, C, H, W], plane after plane, as PyTorch and ONNX have it
 * - `nhwc` is [N, H, W, C], pixel after pixel, as TensorFlow and image decoders have it
 */
export type Layout = 'nchw' | 'nhwc';

/**
 * Order of the filter's axes, whatever the {@link Layout} of the images.
 *
 * - `oihw` is [OC, C/G, KH, KW], as PyTorch and ONNX have it
 * - `hwio` is [KH, KW, C/G, OC], as TensorFlow has it. (Its depthwise filters, [KH, KW, C, M], are
 *   [KH, KW, 1, C·M] here: the same memory, and `groups: C`.)
 */
export type FilterLayout = 'oihw' | 'hwio';

/**
 * Rows and columns added around the image, each ≥ 0. A padded tap contributes nothing to the sum,
 * even if its weight is not finite.
 *
 * - a number: that many on all four sides
 * - `[height, width]`: above and below, left and right
 * - `{ top, left, bottom, right }`: each side by itself
 * - `'valid'`: none
 * - `'same'`: as few as give OH = ceil(H / stride), OW = ceil(W / stride); of an odd number the
 *   larger half goes to the end (bottom, right). TensorFlow's SAME, ONNX's SAME_UPPER
 * - `'same-lower'`: the same with the larger half at the beginning
 *
 * With numbers, OH = floor((H + top + bottom − dilation · (KH − 1) − 1) / stride) + 1, and it is a
 * RangeError when that is below 1.
 */
export type Padding =
  | number
  | readonly [height: number, width: number]
  | {
      /** Rows above. */
      readonly top: number;
      /** Columns to the left. */
      readonly left: number;
      /** Rows below. */
      readonly bottom: number;
      /** Columns to the right. */
      readonly right: number;
    }
  | 'valid'
  | 'same'
  | 'same-lower';

/**
 * Applied to each output last, after bias and residual, before it is stored. NaN passes through
 * every one of them.
 *
 * - `relu` max(v, 0); `relu6` min(max(v, 0), 6); `clamp` min(max(v, min), max)
 * - `sigmoid` 1 / (1 + exp(−v)); `tanh`; `silu` v · sigmoid(v)
 * - `hardSwish` v · min(max(v + 3, 0), 6) / 6
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
  | {
      /** Bounds on both sides. */
      readonly type: 'clamp';
      /** Lower bound, rounded to float32; may be -Infinity. */
      readonly min: number;
      /** Upper bound, not below `min`; may be Infinity. */
      readonly max: number;
    }
  | {
      /** A small slope below zero. */
      readonly type: 'leakyRelu';
      /** Slope for negative values, rounded to float32; finite. */
      readonly alpha: number;
    };

/**
 * How the sums are computed. {@link Conv2d.plan} tells what a name comes to.
 *
 * - `auto` the fastest within the error bound of `winograd`
 * - `exact` the fastest of those whose every output is one chain of fused multiply-adds over
 *   (c, kh, kw) ascending: the same bits for any thread count, batch split, layout and FMA
 *   instruction set
 *
 * One by name, where it can compute the layer; it is an error where it cannot. All but the last are
 * exact. (Where a padded filter holds Inf or NaN, those alone can that skip padded taps: `direct`, and
 * `depthwise` with channels on the vector lanes.)
 *
 * - `gemm` a matrix product of the filters with patches of the image (im2col: Chellapilla, Puri and
 *   Simard 2006) that are packed a cache block at a time, as the matrix never exists; blocked after
 *   Goto and van de Geijn 2008 and BLIS (Van Zee and van de Geijn 2015). For any layer
 * - `direct` taps read from the image, sums in registers (Georganas et al. 2018): in place, or from a
 *   padded copy of a few rows of it where that is faster. For any layer
 * - `depthwise` rows of one channel: C/G = 1. In nhwc OC = C ≥ 16, or up to eight filters a channel
 *   where the image under a row of outputs has up to 1820 pixels; in nchw where that and the row
 *   have up to 4096; elsewhere nchw, and nhwc of few channels with OC = C, with stride ≤ 4 and
 *   dilated windows of up to 1024 pixels
 * - `winograd` F(2×2, 3×3), F(4×4, 3×3) and F(2×2, 5×5) (Lavin and Gray 2015; points after Barabasz
 *   et al. 2018): 3×3 or 5×5, stride 1, dilation ≤ 16, C/G ≤ 4096, finite weights. Not exact: each
 *   output is within 50 · 2^-24 · Σ|w| · max|x| of the true value (26 under 5×5 filters), the largest
 *   input taken over its tile of 6×6, and an input that is not finite spreads over its tile. `auto`
 *   takes it where it is faster and its error, root mean square on N(0, 1) inputs, is at most twice
 *   that of the exact chain
 */
export type Algorithm = 'auto' | 'exact' | 'gemm' | 'direct' | 'depthwise' | 'winograd';

/** What a layer is built with. An unknown name is a TypeError. */
export interface Conv2dOptions {
  /** OC values, one added to every pixel of each output channel. @default zeros */
  readonly bias?: Float32Array | Tensor | undefined;
  /** Input pixels from one output pixel to the next, n or [height, width], each ≥ 1. @default 1 */
  readonly stride?: number | readonly [number, number] | undefined;
  /** Rows and columns added around the image. @default 0 */
  readonly padding?: Padding | undefined;
  /** Input pixels from one filter tap to the next, n or [height, width], each ≥ 1. @default 1 */
  readonly dilation?: number | readonly [number, number] | undefined;
  /**
   * G, which divides C and OC: output channels are computed from the input channels of their own
   * group alone. `groups === C` is a depthwise convolution. @default 1
   */
  readonly groups?: number | undefined;
  /** What is done to each output last. @default 'none' */
  readonly activation?: Activation | undefined;
  /** Of input, output and `add`. @default 'nchw' */
  readonly layout?: Layout | undefined;
  /** Of the filter. @default 'oihw' */
  readonly filterLayout?: FilterLayout | undefined;
  /** `'auto'` for speed, `'exact'` for the same bits everywhere. @default 'auto' */
  readonly algorithm?: Algorithm | undefined;
}

/** What one synchronous call takes besides its input. */
export interface RunSyncOptions {
  /** Residual: OC·OH·OW·N values in the output's layout, added before the activation. */
  readonly add?: Float32Array | Tensor | undefined;
  /**
   * Memory to write the output to, instead of a new array: OC·OH·OW·N values. It saves the cost of
   * fresh memory, which for large outputs and for small layers can exceed that of the convolution.
   */
  readonly out?: Float32Array | Tensor | undefined;
}

/** What one asynchronous call takes besides its input. */
export interface RunOptions extends RunSyncOptions {
  /** Aborts the call: its promise rejects with the signal's reason (an `AbortError` by default). */
  readonly signal?: AbortSignal | undefined;
  /**
   * Memory to work on in place, without a copy: `true` for all of `input`, `add` and `out`, or those
   * you name. Their ArrayBuffers are detached before `run` returns, whole, whatever part of them
   * the arrays cover; the output then comes in a new array over the memory of `out`. A
   * SharedArrayBuffer stays yours to see, but leave it alone until the promise settles: else the
   * values of the output are undefined. @default false
   */
  readonly transfer?: boolean | readonly ('input' | 'add' | 'out')[] | undefined;
}

/** How a layer computes one input shape under the present settings. */
export interface Conv2dPlan {
  /** Of those that {@link Algorithm} describes. */
  readonly algorithm: 'gemm' | 'direct' | 'depthwise' | 'winograd';
  /** Which form of the algorithm, for those who compare speeds; names may change. */
  readonly variant: string;
  /** Instruction set of the kernels. */
  readonly isa: string;
  /** Threads that the work is cut for. */
  readonly threads: number;
  /** The largest register tile of the microkernel: outputs whose sums it keeps at a time. */
  readonly tile: {
    /** Rows: of what does not lie on the vector lanes. */
    readonly mr: number;
    /** Outputs on the lanes, a multiple of their number. */
    readonly nr: number;
  };
  /** Cache blocks, and what lies on the vector lanes. */
  readonly blocks: {
    /** Filters a block. */
    readonly mc: number;
    /** Steps of the sum a block. */
    readonly kc: number;
    /** Pixels a block. */
    readonly nc: number;
    /** Output pixels or output channels. */
    readonly lanes: 'pixels' | 'channels';
  };
  /** Scratch memory `runSync` uses besides its tensors, all threads together. `run` also holds its
   * input (and `add`), mostly a copy, until it is done. */
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

/** Facts about this build and this machine, from {@link info}. */
export interface Info {
  /** Of the package. */
  readonly version: string;
  /** Instruction set in use: the widest this CPU runs, or `GEMMCONV_ISA`. */
  readonly isa: string;
  /** What `GEMMCONV_ISA` may name on this CPU, from the narrowest to the widest. */
  readonly availableIsas: readonly string[];
  /** Cores this process may use: affinity mask and cgroup quota applied. */
  readonly cores: number;
  /** Threads that one call may compute on, see {@link setThreads}. */
  readonly threads: number;
  /** Data caches, as the system reports them: blocks are sized by these. */
  readonly cacheBytes: {
    /** Of one core. */
    readonly l1: number;
    /** Of one core. */
    readonly l2: number;
    /** Shared between cores; 0 where there is none. */
    readonly l3: number;
  };
}

/** What the process as a whole, all its threads together, may have pending; see {@link setLimits}. */
export interface Limits {
  /** Calls of `run` that have not settled. @default Infinity */
  readonly maxPending?: number | undefined;
  /**
   * Memory they hold: their inputs (and `add`), copied or given away, and their outputs. However large, one
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
  /** Calls that ended with a result. */
  readonly completed: number;
  /** Calls that their signal ended, or the end of their worker. */
  readonly aborted: number;
  /** Calls that ended for lack of memory, or because `out` had changed. */
  readonly failed: number;
  /** Calls that were not let in because of a limit. */
  readonly refused: number;
  /** Time that the library's threads have spent computing, helping `runSync` included, added up. */
  readonly busyMs: number;
  /** As {@link setLimits} set it. */
  readonly maxPending: number;
  /** As {@link setLimits} set it. */
  readonly maxPendingBytes: number;
}
