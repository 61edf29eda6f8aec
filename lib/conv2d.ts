// For the compilers of users without @types/node, whose `lib` may know of no Disposable.
/// <reference lib="esnext.disposable" preserve="true" />
import { binding } from './binding.js';
import { RunCall, type RunTensors } from './calls.js';
import { invalidState } from './errors.js';
import { slide } from './geometry.js';
import { DONE, errorOf, STALE_PLAN } from './outcomes.js';
import { PlanCache, type PreparedShape } from './plans.js';
import type { Layer } from './problem.js';
import { copyOf, uninitialised } from './tensor.js';
import type { Conv2dOptions, Conv2dPlan, RunOptions, RunSyncOptions, Tensor } from './types.js';
import {
  type CallArguments,
  checkCall,
  outputShapeOf,
  RUN_NAMES,
  RUN_SYNC_NAMES,
  readCall,
  splitOptions,
  validateLayer,
  validateShape,
} from './validate.js';

/**
 * A 2-D convolution (cross-correlation, as in every framework) with its filter and options: build
 * it once, run it on any number of inputs, of any size. The filter is packed for the CPU when first
 * needed, and the plans of the last 64 input shapes are kept.
 *
 * Shapes are written with N images, C channels, H rows and W columns; OC, OH and OW those of the
 * output; KH and KW rows and columns of the filter; G groups.
 *
 * ```js
 * import { Conv2d } from 'gemmconv';
 *
 * const weights = new Float32Array(64 * 3 * 7 * 7).fill(0.01);
 * const layer = new Conv2d({ data: weights, shape: [64, 3, 7, 7] }, { stride: 2, padding: 3 });
 *
 * const pixels = new Float32Array(3 * 224 * 224).fill(1);
 * const { data, shape } = await layer.run({ data: pixels, shape: [1, 3, 224, 224] });
 * console.log(shape); // [ 1, 64, 112, 112 ]
 * ```
 */
export class Conv2d {
  readonly #layer: Layer;
  /** null once disposed. */
  #plans: PlanCache | null;

  /**
   * Copies the filter and the bias, at once (some 0.4 ms a megabyte): what happens to the caller's
   * arrays later has no effect.
   *
   * @param filter shape [OC, C/G, KH, KW], or [KH, KW, C/G, OC] with `filterLayout: 'hwio'`.
   *   OC, KH, KW ≥ 1.
   * @param options the default is no bias, stride 1, no padding, dilation 1, one group, no
   *   activation, `nchw`, `oihw`, `auto`.
   * @throws
   * - a TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option
   * - a RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed, or does
   *   not fit the others: a shape that is not that of its data, groups that do not divide
   * - a RangeError (ERR_MEMORY_ALLOCATION_FAILED) when there is not enough memory for the copies
   */
  constructor(filter: Tensor, options?: Conv2dOptions) {
    const given = validateLayer(filter, options);
    const bias = given.bias === null ? null : copyOf(given.bias);
    this.#layer = given.layer;
    this.#plans = new PlanCache(given.layer, copyOf(given.filter), bias);
  }

  /**
   * Computes off the event loop, on the library's own threads. `input` and `add` are copied before
   * this returns, so the caller may change, transfer or free them at once.
   *
   * @param input shape [N, C, H, W], or [N, H, W, C] with `layout: 'nhwc'`. N may be 0.
   * @param options `add` to the sums, write to `out` (when the promise resolves, not before), abort
   *   by `signal`, or give memory away to be worked on in place, by `transfer`.
   * @returns the output, [N, OC, OH, OW] or [N, OH, OW, OC] as the input's layout has it. Its `data`
   *   is that of `out` where that is given, or a new array over the same memory where that was taken
   *   away.
   *
   * It never throws, and writes nothing if it fails. The promise rejects with
   * - a TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option
   * - a RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed, for a
   *   shape the filter does not fit, for data that is shorter or longer than its shape says
   *   (detached data too), for memory to be given away that cannot be (WebAssembly's, and that of
   *   pooled Buffers), and when `out` was detached or resized in the meantime
   * - a RangeError (ERR_MEMORY_ALLOCATION_FAILED) when there is not enough memory
   * - an Error (ERR_GEMMCONV_QUEUE_FULL) when too many calls are pending, see {@link setLimits}
   * - an Error (ERR_INVALID_STATE) when the layer was disposed of before the call
   * - the signal's reason, an `AbortError` by default, as soon as it aborts; with `transfer`, as soon
   *   as no thread works on that memory any more
   *
   * With `transfer`, a call that is refused takes nothing away. What an aborted one has taken is
   * gone, and shared memory that it was to write to may hold a part of the output; so may that of
   * one that fails for lack of memory when it has begun.
   */
  run(input: Tensor, options?: RunOptions): Promise<Tensor> {
    try {
      const plans = this.#alive();
      return start(plans, readCall(input, options, RUN_NAMES));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Computes on the calling thread, with the help of the library's own, and blocks until done.
   *
   * @param input shape [N, C, H, W], or [N, H, W, C] with `layout: 'nhwc'`. N may be 0.
   * @param options `add` to the sums, or write to `out`, which must not overlap `input` or `add`.
   * @returns the output, [N, OC, OH, OW] or [N, OH, OW, OC] as the input's layout has it. Its `data`
   *   is that of `out` where that is given.
   * @throws
   * - a TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option
   * - a RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed, for a
   *   shape the filter does not fit, for data that is shorter or longer than its shape says
   *   (detached data too), and for memory that overlaps
   * - a RangeError (ERR_MEMORY_ALLOCATION_FAILED) when there is not enough memory
   * - an Error (ERR_INVALID_STATE) when the layer has been disposed of
   *
   * `out` is then as it was.
   */
  runSync(input: Tensor, options?: RunSyncOptions): Tensor {
    const plans = this.#alive();
    const call = readCall(input, options, RUN_SYNC_NAMES);
    for (;;) {
      const { prepared, tensors } = prepare(plans, call);
      if (prepared.native === null) return emptyOutput(tensors);
      const { plan, packed } = plans.workNow(prepared.native);
      const { input, add, out } = tensors;
      const data = out ?? uninitialised(prepared.outputCount);
      const outcome = binding.runSync(plan, packed, input, add, data);
      if (outcome === DONE) return { data, shape: [...prepared.outputShape] };
      if (outcome !== STALE_PLAN) throw errorOf(outcome, tensors);
      plans.forget();
    }
  }

  /**
   * Shape of the output for an input of the given shape, both in the layer's layout. Computes
   * nothing else.
   *
   * @param shape of an input, four extents.
   * @returns four extents, a fresh array.
   * @throws
   * - a TypeError (ERR_INVALID_ARG_TYPE) or RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for
   *   a shape that the layer cannot take
   * - an Error (ERR_INVALID_STATE) when the layer has been disposed of
   */
  outputShape(shape: readonly number[]): number[] {
    this.#alive();
    const { image } = validateShape(this.#layer, shape);
    return outputShapeOf(this.#layer, image, slide(this.#layer, image, 'shape'));
  }

  /**
   * Multiply-accumulates for an input of the given shape: KH·KW·(C/G) · OC·OH·OW · N, padded taps
   * counted. Throws as {@link outputShape} does.
   *
   * @param shape of an input, four extents.
   */
  macs(shape: readonly number[]): number {
    this.#alive();
    const { image } = validateShape(this.#layer, shape);
    return slide(this.#layer, image, 'shape').macs;
  }

  /**
   * How an input of the given shape would be computed under the present settings. Computes nothing
   * else. Throws as {@link outputShape} does, and a RangeError (ERR_INVALID_ARG_VALUE) when the
   * `algorithm` asked for cannot compute it.
   *
   * @param shape of an input, four extents.
   */
  plan(shape: readonly number[]): Conv2dPlan {
    const plans = this.#alive();
    const { image } = validateShape(this.#layer, shape);
    const description = plans.describe(image, 'shape');
    const { algorithm, variant, isa, threads, tile, blocks, ...rest } = description;
    const { workspaceBytes, flops, estimatedCycles } = rest;
    return {
      algorithm,
      variant,
      isa,
      threads,
      tile,
      blocks,
      workspaceBytes,
      flops,
      estimatedCycles,
    };
  }

  /**
   * Lets go of the filter, its packed forms and the plans. Calls under way finish as usual; every
   * later one throws an Error with code ERR_INVALID_STATE. Disposing twice is fine.
   */
  dispose(): void {
    this.#plans = null;
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): PlanCache {
    if (this.#plans === null) throw invalidState('This Conv2d has been disposed of');
    return this.#plans;
  }
}

/**
 * One convolution off the event loop: `new Conv2d(filter, options).run(input, options)`. Who runs
 * the same filter often is better off with a {@link Conv2d}, which packs it once.
 *
 * @param input shape [N, C, H, W], or [N, H, W, C] with `layout: 'nhwc'`.
 * @param filter shape [OC, C/G, KH, KW], or [KH, KW, C/G, OC] with `filterLayout: 'hwio'`.
 * @param options those of the constructor and of `run`.
 * @returns as {@link Conv2d.run}; whatever the constructor would throw is a rejection too.
 */
export async function conv2d(
  input: Tensor,
  filter: Tensor,
  options?: Conv2dOptions & RunOptions,
): Promise<Tensor> {
  const split = splitOptions(options, RUN_NAMES);
  return new Conv2d(filter, split.layer).run(input, split.run);
}

/**
 * One convolution on the calling thread: `new Conv2d(filter, options).runSync(input, options)`.
 *
 * @param input shape [N, C, H, W], or [N, H, W, C] with `layout: 'nhwc'`.
 * @param filter shape [OC, C/G, KH, KW], or [KH, KW, C/G, OC] with `filterLayout: 'hwio'`.
 * @param options those of the constructor and of `runSync`.
 * @returns as {@link Conv2d.runSync}, which also tells what is thrown.
 */
export function conv2dSync(
  input: Tensor,
  filter: Tensor,
  options?: Conv2dOptions & RunSyncOptions,
): Tensor {
  const split = splitOptions(options, RUN_SYNC_NAMES);
  return new Conv2d(filter, split.layer).runSync(input, split.run);
}

/** Reads nothing of the caller's but lengths of memory. */
function prepare(
  plans: PlanCache,
  call: CallArguments,
): { prepared: PreparedShape; tensors: RunTensors } {
  const prepared = plans.find(call.input.shape);
  checkCall(call, prepared);
  const { outputShape, outputCount } = prepared;
  const add = call.add === null ? null : call.add.data;
  const out = call.out === null ? null : call.out.data;
  return { prepared, tensors: { input: call.input.data, add, out, outputShape, outputCount } };
}

function start(plans: PlanCache, call: CallArguments): Promise<Tensor> {
  const { signal, transfer } = call;
  for (;;) {
    const { prepared, tensors } = prepare(plans, call);
    if (signal?.aborted) throw signal.reason;
    if (prepared.native === null) return Promise.resolve(emptyOutput(tensors));
    const started = new RunCall(plans.workSoon(prepared.native), tensors, transfer, signal);
    const outcome = started.start();
    if (outcome === DONE) return started.promise();
    if (outcome !== STALE_PLAN) throw errorOf(outcome, tensors);
    plans.forget();
  }
}

function emptyOutput({ out, outputShape }: RunTensors): Tensor {
  return { data: out ?? new Float32Array(0), shape: [...outputShape] };
}
