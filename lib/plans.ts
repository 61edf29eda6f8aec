import type { PlanDescription } from '../binding.js';
import { binding } from './binding.js';
import { invalidValue } from './errors.js';
import { type Geometry, type Image, slide } from './geometry.js';
import { ALGORITHMS, encodeProblem, type Layer, makeProblem } from './problem.js';
import { generation } from './settings.js';
import { sameShape } from './tensor.js';
import { type CallExtents, imageOf, outputShapeOf } from './validate.js';

/** Everything a call on one input shape needs besides its tensors. */
export interface PreparedShape extends CallExtents {
  readonly inputShape: readonly number[];
  /** Of the settings, when this was made. */
  readonly generation: number;
  /** null when the output is empty, so that there is nothing to compute. */
  readonly native: { readonly plan: ArrayBuffer; readonly packed: ArrayBuffer } | null;
}

/** Shapes kept per layer. A plan is under a kilobyte; servers see a handful of shapes. */
const MAX_SHAPES = 64;

/** A layer's plans by input shape, and its packed filters by format; made when first needed. */
export class PlanCache {
  readonly #layer: Layer;
  readonly #filter: Float32Array;
  readonly #bias: Float32Array | null;
  /** Least recently used first. */
  readonly #prepared = new Map<string, PreparedShape>();
  readonly #packed = new Map<number, ArrayBuffer>();
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
    if (
      recent !== null &&
      recent.generation === generation &&
      sameShape(recent.inputShape, inputShape)
    ) {
      return recent;
    }
    const found = this.#lookUp(inputShape);
    this.#recent = found;
    return found;
  }

  /** How one shape is computed; packs nothing and keeps nothing. */
  describe(image: Image, argument: string): PlanDescription {
    return binding.describePlan(this.#makePlan(image, slide(this.#layer, image, argument)));
  }

  #lookUp(inputShape: readonly number[]): PreparedShape {
    const key = inputShape.join();
    let prepared = this.#prepared.get(key);
    this.#prepared.delete(key);
    if (prepared === undefined || prepared.generation !== generation) {
      prepared = this.#prepare(inputShape);
    }
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
      native = { plan, packed: this.#packedFor(plan) };
    }
    return { inputShape, outputShape, inputCount, outputCount, generation, native };
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

  #packedFor(plan: ArrayBuffer): ArrayBuffer {
    const { packedBytes, packedFormat } = binding.describePlan(plan);
    const known = this.#packed.get(packedFormat);
    if (known !== undefined) return known;
    const packed = new ArrayBuffer(packedBytes);
    binding.packFilter(plan, this.#filter, this.#bias, packed);
    this.#packed.set(packedFormat, packed);
    return packed;
  }

  /**
   * Whether multiplying a padded zero, instead of skipping it, could change a result: zero times
   * an Inf or NaN weight is NaN; and a sum that underflowed to -0 becomes +0 when +0 is added,
   * which shows only under a bias of -0.
   */
  #isFragile(): boolean {
    this.#fragile ??= holdsNonFinite(this.#filter) || holdsNegativeZero(this.#bias);
    return this.#fragile;
  }
}

// Loops, not `every` and `some`: a filter may have millions of values.

function holdsNonFinite(values: Float32Array): boolean {
  for (const value of values) {
    if (!Number.isFinite(value)) return true;
  }
  return false;
}

function holdsNegativeZero(values: Float32Array | null): boolean {
  for (const value of values ?? []) {
    if (Object.is(value, -0)) return true;
  }
  return false;
}
