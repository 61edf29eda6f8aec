import type { PlanDescription } from '../binding.js';
import { binding } from './binding.js';
import { startPacking, type Work } from './calls.js';
import { invalidValue } from './errors.js';
import { type Geometry, type Image, slide } from './geometry.js';
import { ALGORITHMS, encodeProblem, type Layer, makeProblem } from './problem.js';
import { sameShape, zeroed } from './tensor.js';
import { type CallExtents, imageOf, outputShapeOf } from './validate.js';

/** Everything a call on one input shape needs besides its tensors. */
export interface PreparedShape extends CallExtents {
  readonly inputShape: readonly number[];
  /** null when the output is empty, so that there is nothing to compute. */
  readonly native: { readonly plan: ArrayBuffer; readonly filter: PackedFilter } | null;
}

/** A filter in the form that some plans read. */
interface PackedFilter {
  buffer: ArrayBuffer;
  state: 'empty' | 'being packed' | 'packed';
  /** Of the packing under way; -1 for none. */
  ticket: number;
}

/** Up to this many values are packed where they are needed: that takes some ten microseconds. */
const PACKED_AT_ONCE = 4096;

/** Shapes kept per layer. A plan is under a kilobyte; servers see a handful of shapes. */
const MAX_SHAPES = 64;

/** A layer's plans by input shape, and its packed filters by format; made when first needed. */
export class PlanCache {
  readonly #layer: Layer;
  readonly #filter: Float32Array;
  readonly #bias: Float32Array | null;
  /** Least recently used first. */
  readonly #prepared = new Map<string, PreparedShape>();
  readonly #packed = new Map<number, PackedFilter>();
  #recent: PreparedShape | null = null;
  #fragile: boolean | null = null;

  /** `filter` and `bias` must be private copies. */
  constructor(layer: Layer, filter: Float32Array, bias: Float32Array | null) {
    this.#layer = layer;
    this.#filter = filter;
    this.#bias = bias;
  }

  /** The same shape as last time costs four comparisons. */
  find(inputShape: readonly number[]): PreparedShape {
    const recent = this.#recent;
    if (recent !== null && sameShape(recent.inputShape, inputShape)) return recent;
    const found = this.#lookUp(inputShape);
    this.#recent = found;
    return found;
  }

  /** To be told of a plan that the native side calls stale. */
  forget(): void {
    this.#prepared.clear();
    this.#recent = null;
  }

  /** What to run at once. */
  workNow(native: NonNullable<PreparedShape['native']>): Work {
    const { plan, filter } = native;
    if (filter.state !== 'packed') this.#packNow(plan, filter);
    return { plan, packed: filter.buffer, packing: -1 };
  }

  /** What to run on the pool, where a large filter is packed, too. */
  workSoon(native: NonNullable<PreparedShape['native']>): Work {
    const { plan, filter } = native;
    if (filter.state === 'empty') {
      if (this.#filter.length <= PACKED_AT_ONCE) this.#packNow(plan, filter);
      else this.#packSoon(plan, filter);
    }
    return { plan, packed: filter.buffer, packing: filter.ticket };
  }

  /** How one shape is computed; packs nothing and keeps nothing. */
  describe(image: Image, argument: string): PlanDescription {
    return binding.describePlan(this.#makePlan(image, slide(this.#layer, image, argument)));
  }

  #lookUp(inputShape: readonly number[]): PreparedShape {
    const key = inputShape.join();
    let prepared = this.#prepared.get(key);
    this.#prepared.delete(key);
    prepared ??= this.#prepare(inputShape);
    for (const oldest of this.#prepared.keys()) {
      if (this.#prepared.size < MAX_SHAPES) break;
      this.#prepared.delete(oldest);
    }
    this.#prepared.set(key, prepared);
    return prepared;
  }

  #prepare(inputShape: readonly number[]): PreparedShape {
    const layer = this.#layer;
    const image = imageOf(layer, inputShape, 'input.shape');
    const geometry = slide(layer, image, 'input.shape');
    const { inputCount, outputCount } = geometry;
    const outputShape = outputShapeOf(layer, image, geometry);
    let native: PreparedShape['native'] = null;
    if (outputCount > 0) {
      const plan = this.#makePlan(image, geometry);
      native = { plan, filter: this.#packedFor(plan) };
    }
    return { inputShape, outputShape, inputCount, outputCount, native };
  }

  #makePlan(image: Image, geometry: Geometry): ArrayBuffer {
    const fragile = this.#isFragile();
    const plan = binding.makePlan(
      encodeProblem(makeProblem(this.#layer, image, geometry, fragile)),
    );
    if (plan !== null) return plan;
    throw invalidValue(
      'options.algorithm',
      `one that can compute this layer ('auto' always can)`,
      ALGORITHMS[this.#layer.algorithm],
      fragile ? 'the filter is not finite, or the bias holds -0' : '',
    );
  }

  #packedFor(plan: ArrayBuffer): PackedFilter {
    const { packedBytes, packedFormat } = binding.describePlan(plan);
    let filter = this.#packed.get(packedFormat);
    if (filter === undefined) {
      filter = { buffer: zeroed(packedBytes), state: 'empty', ticket: -1 };
      this.#packed.set(packedFormat, filter);
    }
    return filter;
  }

  #packNow(plan: ArrayBuffer, filter: PackedFilter): void {
    // A worker may be filling the other one.
    if (filter.state === 'being packed') filter.buffer = zeroed(filter.buffer.byteLength);
    binding.packFilter(plan, this.#filter, this.#bias, filter.buffer);
    filter.state = 'packed';
    filter.ticket = -1;
  }

  #packSoon(plan: ArrayBuffer, filter: PackedFilter): void {
    const { buffer } = filter;
    filter.ticket = startPacking(plan, this.#filter, this.#bias, buffer, () => {
      if (filter.buffer !== buffer) return; // packed at once in the meantime
      filter.state = 'packed';
      filter.ticket = -1;
    });
    filter.state = 'being packed';
  }

  /**
   * Whether multiplying a padded zero, instead of skipping it, could change a result: zero times
   * an Inf or NaN weight is NaN; and a sum that underflowed to -0 becomes +0 when +0 is added,
   * which shows only under a bias of -0.
   */
  #isFragile(): boolean {
    this.#fragile ??= binding.isFragile(this.#filter, this.#bias);
    return this.#fragile;
  }
}
