import type { Outcome } from '../binding.js';
import { binding } from './binding.js';
import { type Begun, type Late, type Line, lineFor } from './lines.js';
import { DONE, errorOf } from './outcomes.js';
import { type Abortable, listen, stopListening } from './signals.js';
import { uninitialised } from './tensor.js';
import { bitOf, isGiven, NOTHING, takeAway } from './transfer.js';
import type { Tensor } from './types.js';

/** A call that has been handed to the native side. */
interface Call {
  /** Set when the native side is through with it, before it is told. */
  isOver: boolean;
  /** Told once, when the native side is through with it. */
  finished(outcome: Outcome): void;
}

/** Calls by ticket; they also keep alive the arrays that the workers use. */
const calls: (Call | undefined)[] = [];
const freeTickets: number[] = [];

function newTicket(call: Call): number {
  const ticket = freeTickets.pop() ?? calls.length;
  calls[ticket] = call;
  return ticket;
}

function release(ticket: number): void {
  calls[ticket] = undefined;
  freeTickets.push(ticket);
}

// Captured: whoever tests with timers that stand still still gets his answers.
const nextTurn = setImmediate;

/** A turn of so many small calls takes a fraction of a millisecond; other events come in between. */
const MOST_A_TURN = 64;
const finished = new Int32Array(2 * MOST_A_TURN);

/**
 * Settles some calls and comes back in the next turn of the event loop, until there are none. Not
 * sooner: their continuations run when this returns, and may start as many calls again.
 */
function settleFinished(): void {
  const count = binding.takeFinished(finished);
  if (count > 0) nextTurn(settleFinished);
  // All of them before any: to settle one may run a signal's code, which may abort another.
  for (let i = 0; i < count; i++) (calls[finished[2 * i] as number] as Call).isOver = true;
  for (let i = 0; i < count; i++) {
    const ticket = finished[2 * i] as number;
    const call = calls[ticket] as Call;
    call.finished(finished[2 * i + 1] as Outcome);
    release(ticket);
  }
}

binding.onFinished(settleFinished);

/** What the native side works on. It stays as it is until the call has finished. */
export interface Work {
  readonly plan: ArrayBuffer;
  readonly packed: ArrayBuffer;
  /** Ticket of the packing that fills `packed`; -1 when it has been filled. */
  readonly packing: number;
}

/** Started packings settle by a callback: nobody but the calls behind them waits. */
export function startPacking(
  plan: ArrayBuffer,
  filter: Float32Array,
  bias: Float32Array | null,
  packed: ArrayBuffer,
  finished: (outcome: Outcome) => void,
): number {
  const call = { isOver: false, finished, keep: [plan, filter, bias, packed] };
  const ticket = newTicket(call);
  const outcome = binding.packAsync(plan, filter, bias, packed, ticket);
  if (outcome === DONE) return ticket;
  release(ticket);
  throw errorOf(outcome, { input: filter, add: null, out: null });
}

/** A promise around a task without work: what `run` costs besides its work. For the bench. */
export function doNothing(): Promise<void> {
  return new Promise((resolve) => {
    binding.doNothing(newTicket({ isOver: false, finished: () => resolve() }));
  });
}

export interface RunTensors {
  readonly input: Float32Array;
  readonly add: Float32Array | null;
  /** The caller's memory for the output. */
  readonly out: Float32Array | null;
  readonly outputShape: readonly number[];
  readonly outputCount: number;
}

const OUTPUT = bitOf('out');

/** One `run`: from start to the settling of its promise. */
export class RunCall implements Call, Late, Abortable {
  isOver = false;
  readonly #work: Work;
  /** Those given away have been replaced by our own. */
  #tensors: RunTensors;
  /** Which tensors the caller gives away: bits. */
  readonly #given: number;
  readonly #signal: AbortSignal | null;
  /** Nobody else sees it before the promise resolves. null where the output goes to `out`. */
  #output: Float32Array | null;
  /**
   * Where it stands in line for its output; null where that is small or the caller's, where memory
   * is given away, and where a filter is still being packed.
   */
  readonly #line: Line | null;
  #isWaiting: boolean;
  #ticket = -1;
  #resolve!: (output: Tensor) => void;
  #reject!: (reason: unknown) => void;
  #isSettled = false;
  /** What to reject with when the workers have let go of the caller's memory. */
  #late: { readonly reason: unknown } | null = null;

  constructor(work: Work, tensors: RunTensors, given: number, signal: AbortSignal | null) {
    this.#work = work;
    this.#tensors = tensors;
    this.#given = given;
    this.#signal = signal;
    const { out, outputCount } = tensors;
    const mayWait = out === null && given === NOTHING && work.packing < 0;
    this.#line = mayWait ? lineFor(work.plan, outputCount) : null;
    this.#isWaiting = this.#line?.isFull() ?? false;
    this.#output = out === null && !this.#isWaiting ? uninitialised(outputCount) : null;
  }

  /** Done, or why it could not be started. */
  start(): Outcome {
    this.#ticket = newTicket(this);
    const isSimple = this.#given === NOTHING && this.#work.packing < 0;
    const outcome = isSimple ? this.#startWithCopies() : this.#startInSteps();
    if (outcome !== DONE) release(this.#ticket);
    else if (this.#isWaiting) this.#line?.wait(this);
    else this.#line?.enter();
    return outcome;
  }

  #startWithCopies(): Outcome {
    const { plan, packed } = this.#work;
    const { input, add } = this.#tensors;
    if (this.#isWaiting) return binding.admit(plan, input, add, null, OUTPUT, this.#ticket);
    return binding.runAsync(plan, packed, input, add, this.#output, this.#ticket);
  }

  /** Nothing is taken from the caller before all that may be refused has been granted. */
  #startInSteps(): Outcome {
    const { plan, packed, packing } = this.#work;
    const ticket = this.#ticket;
    const { input, add } = this.#tensors;
    const outcome = binding.admit(plan, input, add, this.#target(), this.#given, ticket);
    if (outcome !== DONE) return outcome;
    try {
      this.#tensors = takeAway(this.#tensors, this.#given);
    } catch (error) {
      binding.forgo(ticket);
      release(ticket);
      throw error;
    }
    const inPlace = (name: 'input' | 'add') =>
      isGiven(this.#given, name) ? this.#tensors[name] : null;
    binding.begin(ticket, packed, inPlace('input'), inPlace('add'), this.#target(), packing);
    return DONE;
  }

  /** The second half of its start, when its turn has come. */
  begin(): Begun {
    if (this.#isSettled) return 'not';
    try {
      this.#output = uninitialised(this.#tensors.outputCount);
    } catch (error) {
      this.#isSettled = true;
      this.#stopListening();
      binding.forgo(this.#ticket);
      release(this.#ticket);
      this.#reject(error);
      return 'not';
    }
    this.#isWaiting = false;
    const { packed } = this.#work;
    const isAlone = binding.begin(this.#ticket, packed, null, null, this.#output, -1);
    return isAlone ? 'alone' : 'among others';
  }

  /** What the workers write to; null for memory of their own. */
  #target(): Float32Array | null {
    return isGiven(this.#given, 'out') ? (this.#tensors.out ?? this.#output) : this.#output;
  }

  /** The promise of a call that has been started. */
  promise(): Promise<Tensor> {
    const promise = new Promise<Tensor>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const signal = this.#signal;
    if (signal !== null) {
      try {
        listen(signal, this);
        // Its own code may have aborted it before we listened.
        if (signal.aborted) this.abort();
      } catch (error) {
        this.#abandon(error);
      }
    }
    return promise;
  }

  // A signal may be of the caller's own making: it may throw, keep its listeners, tell them twice.

  abort(): void {
    if (this.#isSettled) return;
    try {
      this.#abandon(this.#signal?.reason);
    } catch (error) {
      this.#abandon(error);
    }
  }

  #abandon(reason: unknown): void {
    if (this.#isSettled || this.isOver) return;
    this.#isSettled = true;
    this.#stopListening();
    const isGone = binding.cancel(this.#ticket);
    if (isGone) release(this.#ticket);
    if (isGone && !this.#isWaiting) this.#line?.leave();
    // A caller who has his memory back may use it for another call.
    if (isGone || this.#given === NOTHING) this.#reject(reason);
    else this.#late = { reason };
  }

  #stopListening(): void {
    try {
      if (this.#signal !== null) stopListening(this.#signal, this);
    } catch {
      // It is going to find the call settled.
    }
  }

  finished(outcome: Outcome): void {
    this.#line?.leave();
    if (this.#late !== null) this.#reject(this.#late.reason);
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#stopListening();
    try {
      this.#settle(outcome);
    } catch (error) {
      // Of what programs have put in place of their language's own parts.
      this.#reject(error);
    }
  }

  #settle(outcome: Outcome): void {
    const { out, outputShape } = this.#tensors;
    if (outcome === DONE && this.#target() === null) {
      outcome = binding.collect(this.#ticket, out as Float32Array);
    }
    if (outcome === DONE) {
      this.#resolve({ data: out ?? (this.#output as Float32Array), shape: [...outputShape] });
    } else {
      this.#reject(errorOf(outcome, this.#tensors));
    }
  }
}
