import { binding } from './binding.js';
import { invalidState, invalidValue } from './errors.js';
import { slide } from './geometry.js';
import { PlanCache, type PreparedShape } from './plans.js';
import type { Layer } from './problem.js';
import { copyInto, copyOf, lengthOf } from './tensor.js';
import type { Conv2dOptions, Conv2dPlan, RunOptions, RunSyncOptions, Tensor } from './types.js';
import {
  checkCall,
  checkOverlap,
  outputShapeOf,
  RUN_NAMES,
  RUN_SYNC_NAMES,
  readCall,
  splitOptions,
  validateLayer,
  validateShape,
} from './validate.js';

/** Names a pending call to `binding.cancel`. */
let lastTicket = 0;

/**
 * A 2-D convolution (cross-correlation, as in every framework) with its filter and options: build
 * it once, run it on any number of inputs. The filter is packed for the CPU when first needed.
 *
 * ```ts
 * const layer = new Conv2d({ data, shape: [64, 3, 7, 7] }, { stride: 2, padding: 3 });
 * const { data, shape } = await layer.run({ data: pixels, shape: [1, 3, 224, 224] });
 * ```
 */
export class Conv2d {
  readonly #layer: Layer;
  /** null once disposed. */
  #plans: PlanCache | null;

  /**
   * Copies the filter and the bias: what happens to the caller's arrays later has no effect.
   *
   * @param filter shape [OC, C/G, KH, KW], or [KH, KW, C/G, OC] with `filterLayout: 'hwio'`.
   *   OC, KH, KW ≥ 1.
   * @param options see `Conv2dOptions`; the default is no bias, stride 1, no padding, dilation 1,
   *   one group, no activation, `nchw`, `oihw`, `auto`.
   * @throws TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option.
   * @throws RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed,
   *   or does not fit the others.
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
   * @param options.add residual of the output's shape, added before the activation.
   * @param options.out memory for the output, instead of a new array: OC·OH·OW·N values, written
   *   when the promise resolves. It saves the cost of fresh memory.
   * @param options.signal aborts the call.
   * @returns the output in the input's layout. Its `data` is `out` where that is given.
   *
   * The promise rejects, and nothing is ever thrown or written, with
   * - a TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option;
   * - a RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed, for a
   *   shape the filter does not fit, for data that is shorter or longer than its shape says
   *   (detached data too), and when `out` was detached or resized in the meantime;
   * - a RangeError when there is not enough memory;
   * - an Error (ERR_INVALID_STATE) when the layer was disposed of before the call;
   * - the signal's reason, an `AbortError` by default, as soon as it aborts.
   */
  async run(input: Tensor, options?: RunOptions): Promise<Tensor> {
    const plans = this.#alive();
    const call = readCall(input, options, RUN_NAMES);
    const prepared = plans.find(call.input.shape);
    checkCall(call, prepared);
    const { signal } = call;
    if (signal?.aborted) throw signal.reason;
    const memory = new ArrayBuffer(4 * prepared.outputCount);
    const add = call.add === null ? null : call.add.data;
    const pending = start(prepared, call.input.data, add, memory, signal);
    if (pending !== null && !(await pending)) throw invalidState('The call was cancelled');
    const output = new Float32Array(memory);
    return { data: deliver(output, call.out?.data), shape: [...prepared.outputShape] };
  }

  /**
   * Computes on the calling thread, with the help of the library's own, and blocks until done.
   *
   * @param input shape [N, C, H, W], or [N, H, W, C] with `layout: 'nhwc'`. N may be 0.
   * @param options.add residual of the output's shape, added before the activation.
   * @param options.out memory for the output, instead of a new array: OC·OH·OW·N values that do not
   *   overlap those of `input` or `add`. It saves the cost of fresh memory.
   * @returns the output in the input's layout. Its `data` is `out` where that is given.
   * @throws TypeError (ERR_INVALID_ARG_TYPE) for a value of the wrong kind or an unknown option.
   * @throws RangeError (ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE) for a value that is not allowed,
   *   for a shape the filter does not fit, and for data that is shorter or longer than its shape
   *   says (detached data too); a RangeError when there is not enough memory. `out` is then as it
   *   was.
   * @throws Error (ERR_INVALID_STATE) when the layer has been disposed of.
   */
  runSync(input: Tensor, options?: RunSyncOptions): Tensor {
    const plans = this.#alive();
    const call = readCall(input, options, RUN_SYNC_NAMES);
    const prepared = plans.find(call.input.shape);
    checkCall(call, prepared);
    checkOverlap(call);
    const output = call.out === null ? new Float32Array(prepared.outputCount) : call.out.data;
    const add = call.add === null ? null : call.add.data;
    const { native } = prepared;
    if (native !== null) {
      const done = binding.runSync(native.plan, native.packed, call.input.data, add, output);
      if (!done) throw changed('input', call.input.data);
    }
    return { data: output, shape: [...prepared.outputShape] };
  }

  /**
   * Shape of the output for an input of the given shape, both in the layer's layout. Computes
   * nothing else.
   *
   * @throws TypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_INVALID_ARG_VALUE,
   *   ERR_OUT_OF_RANGE) for a shape that the layer cannot take.
   * @throws Error (ERR_INVALID_STATE) when the layer has been disposed of.
   */
  outputShape(shape: readonly number[]): number[] {
    this.#alive();
    const { image } = validateShape(this.#layer, shape);
    return outputShapeOf(this.#layer, image, slide(this.#layer, image, 'shape'));
  }

  /**
   * Multiply-accumulates for an input of the given shape: KH·KW·(C/G) · OC·OH·OW · N, padded taps
   * counted. Throws as `outputShape` does.
   */
  macs(shape: readonly number[]): number {
    this.#alive();
    const { image } = validateShape(this.#layer, shape);
    return slide(this.#layer, image, 'shape').macs;
  }

  /**
   * How an input of the given shape would be computed under the present settings. Throws as
   * `outputShape` does, and a RangeError (ERR_INVALID_ARG_VALUE) when the `algorithm` asked for
   * cannot compute it.
   */
  plan(shape: readonly number[]): Conv2dPlan {
    const plans = this.#alive();
    const { image } = validateShape(this.#layer, shape);
    const description = plans.describe(image, 'shape');
    const { algorithm, variant, isa, threads, tile, blocks, workspaceBytes, flops } = description;
    return { algorithm, variant, isa, threads, tile, blocks, workspaceBytes, flops };
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
 * the same filter often is better off with a `Conv2d`, which packs it once.
 *
 * @param options those of both, see `Conv2dOptions` and `RunOptions`.
 * @returns as `Conv2d.run`; whatever the constructor would throw is a rejection too.
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
 * @param options those of both, see `Conv2dOptions` and `RunSyncOptions`.
 * @returns and throws as these do.
 */
export function conv2dSync(
  input: Tensor,
  filter: Tensor,
  options?: Conv2dOptions & RunSyncOptions,
): Tensor {
  const split = splitOptions(options, RUN_SYNC_NAMES);
  return new Conv2d(filter, split.layer).runSync(input, split.run);
}

/** Starts a call; null when there is nothing to compute. */
function start(
  { native }: PreparedShape,
  input: Float32Array,
  add: Float32Array | null,
  memory: ArrayBuffer,
  signal: AbortSignal | null,
): Promise<boolean> | null {
  if (native === null) return null;
  const ticket = ++lastTicket;
  const pending = binding.runAsync(native.plan, native.packed, input, add, memory, ticket);
  if (pending === null) throw changed('input', input);
  return signal === null ? pending : abortable(pending, signal, ticket);
}

/** Follows `pending`, unless the signal aborts first. Listens no longer than needed. */
function abortable(
  pending: Promise<boolean>,
  signal: AbortSignal,
  ticket: number,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      signal.removeEventListener('abort', onAbort);
      binding.cancel(ticket);
      reject(signal.reason);
    };
    const onSettled = () => signal.removeEventListener('abort', onAbort);
    pending.finally(onSettled).then(resolve, reject);
    signal.addEventListener('abort', onAbort);
    // An option read after the signal may have aborted it before we listened.
    if (signal.aborted) onAbort();
  });
}

/** Gives the output to the caller's memory, which may have changed while we computed. */
function deliver(output: Float32Array<ArrayBuffer>, out: Float32Array | undefined): Float32Array {
  if (out === undefined) return output;
  if (lengthOf(out) !== output.length) throw changed('options.out', out);
  copyInto(out, output);
  return out;
}

function changed(argument: string, data: Float32Array): RangeError {
  return invalidValue(argument, 'memory that keeps its length during the call', data);
}
