/**
 * Calls of one plan stand in line for their outputs, if those are large: they are made shortly
 * before the workers come to them, not when `run` is called. What lives while its call waits outlives
 * two collections of the young generation; V8 then lets go of it only by marking all it has, after
 * every 64 MB. (32 pending 64→64@56 on two cores: collections took 45 to 60 µs a call, now 13 to 20;
 * calls a second 2080 -> 2260; delays of the event loop, p99, 3.5 to 5 ms -> 1.5 to 3.)
 */
import { binding } from './binding.js';

/** Of a call that was to begin: it has not; it has, and the workers had no other; or they had. */
export type Begun = 'not' | 'alone' | 'among others';

export interface Late {
  begin(): Begun;
}

/** Smaller ones are made at once: two steps instead of one would cost small calls too much. */
const LARGE_FROM = 65536;

/** Calls that have begun at least: of each thread one that is at work, and the next. */
const LEAST_A_THREAD = 2;

/**
 * When the workers have run out of calls, because other work kept the event loop, so many more are
 * to have begun from now on; each call that begins while they have others takes back a little. Found
 * by trial: less forgetful, and the pauses of V8 itself keep the number high.
 */
const MORE = 2;
const LESS = 1 / 32;

/** Of the calls on one plan, those that have begun, and those that wait. */
export class Line {
  readonly #least = LEAST_A_THREAD * binding.getThreads();
  #most = this.#least;
  #begun = 0;
  readonly #waiting: Late[] = [];

  /** Whether a call has to wait for others to leave. */
  isFull(): boolean {
    return this.#begun >= this.#most;
  }

  wait(call: Late): void {
    this.#waiting.push(call);
  }

  /** A call has begun without waiting. */
  enter(): void {
    this.#begun++;
  }

  /** A call that had begun has ended. */
  leave(): void {
    this.#begun--;
    while (!this.isFull()) {
      const begun = this.#waiting.shift()?.begin();
      if (begun === undefined) return;
      if (begun === 'not') continue;
      this.#begun++;
      this.#most += begun === 'alone' ? MORE : -LESS;
      this.#most = Math.max(this.#most, this.#least);
    }
  }
}

const lines = new WeakMap<ArrayBuffer, Line>();

/** null where outputs are made at once. */
export function lineFor(plan: ArrayBuffer, outputCount: number): Line | null {
  if (outputCount < LARGE_FROM) return null;
  let line = lines.get(plan);
  if (line === undefined) {
    line = new Line();
    lines.set(plan, line);
  }
  return line;
}
