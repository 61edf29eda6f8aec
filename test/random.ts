/** A stream of numbers in [0, 1) that its seed alone decides: Tommy Ettinger's mulberry32. */
export function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random choices of a test, all from one seed. */
export class Draw {
  private readonly random: () => number;

  constructor(seed: number) {
    this.random = mulberry32(seed);
  }

  from<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T;
  }

  integer(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }

  /** Low in most draws, so that the rarer feature does not drown the rest. */
  rarely(high: number): number {
    return this.random() < 0.6 ? 1 : this.integer(1, high);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** Numbers in [-1, 1). */
  floats(length: number): Float32Array {
    const floats = new Float32Array(length);
    for (let i = 0; i < length; i++) floats[i] = this.random() * 2 - 1;
    return floats;
  }
}
