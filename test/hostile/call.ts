import { setImmediate, setTimeout } from 'node:timers/promises';
import { Conv2d, type Conv2dOptions, conv2d, conv2dSync, setThreads, type Tensor } from 'gemmconv';
import { Draw } from '../random.js';
import { ACTS, type Act, Bystanders, isShared, MEMORY_KINDS, Memory } from './memory.js';
import { drawGiven, firstWrong, type Given, integers, rightAnswer, sizeOf } from './problem.js';

const METHODS = ['run', 'run', 'runSync', 'conv2d', 'conv2dSync'] as const;

/**
 * When something happens: in a getter of the layer's options, before the call, in the last getter
 * that the call reads, and, to an asynchronous call, at four times after it was made.
 */
const SYNC_PHASES = ['build', 'before', 'getter'] as const;
const PHASES = [...SYNC_PHASES, 'returned', 'microtask', 'immediate', 'later'] as const;
type Phase = (typeof PHASES)[number];

const GIVABLE = ['input', 'add', 'out'] as const;
type Givable = (typeof GIVABLE)[number];

const ROLES = ['input', 'filter', 'bias', 'add', 'out'] as const;
type Role = (typeof ROLES)[number];

const OTHERS = ['abort', 'dispose', 'threads', 'collect', 'reenter', 'drop'] as const;

interface Event {
  readonly phase: Phase;
  readonly what: Act | (typeof OTHERS)[number];
  /** Whom an `Act` befalls. */
  readonly role?: Role;
}

/** What one call is made of, and what happens to it meanwhile; all drawn from the seed. */
interface Script {
  readonly given: Given;
  readonly method: (typeof METHODS)[number];
  readonly isAsync: boolean;
  readonly memories: Record<Role, Memory | null>;
  /** What the caller gives away. */
  readonly transfer: readonly Givable[];
  readonly events: readonly Event[];
}

function drawScript(draw: Draw): Script {
  const given = drawGiven(draw);
  const method = draw.from(METHODS);
  const isAsync = method === 'run' || method === 'conv2d';
  const outputs = sizeOf(given.outputShape);
  const make = (count: number, chance: number) =>
    draw.chance(chance) ? new Memory(draw.from(MEMORY_KINDS), integers(draw, count)) : null;
  const memories = {
    input: make(sizeOf(given.inputShape), 1),
    filter: make(sizeOf(given.filterShape), 1),
    bias: make(given.outChannels, 0.4),
    add: make(outputs, 0.4),
    out: make(outputs, 0.6),
  };
  const present = ROLES.filter((role) => memories[role] !== null);
  const events = Array.from({ length: draw.integer(0, 3) }, (): Event => {
    // Half of what befalls an asynchronous call does so while it is under way.
    const phase =
      isAsync && draw.chance(0.5) ? 'returned' : draw.from(isAsync ? PHASES : SYNC_PHASES);
    if (draw.chance(0.3)) return { phase, what: draw.from(OTHERS) };
    return { phase, what: draw.from(ACTS), role: draw.chance(0.4) ? 'input' : draw.from(present) };
  });
  const transfer = isAsync && draw.chance(0.4) ? GIVABLE.filter(() => draw.chance(0.7)) : [];
  return { given, method, isAsync, memories, events, transfer };
}

/** Thrown when the library did what it must not. */
export class Wrong extends Error {}

export class HostileCall {
  readonly #draw: Draw;
  readonly #script: Script;
  readonly #bystanders = new Bystanders();
  readonly #controller = new AbortController();
  readonly description: string;
  #layer: Conv2d | null = null;
  #settled = false;

  /** Values as they were when the library last had a right to look. */
  readonly #seen: Partial<Record<Role, Float32Array>> = {};
  /** What an error must contain: one of these where there are any, else there must be none … */
  readonly #mustFail: string[] = [];
  /** … or one of these. */
  readonly #mayFail: string[] = [];
  /** Shared memory was written to while the library had it. */
  #isUndefined = false;

  constructor(seed: number) {
    this.#draw = new Draw(seed);
    this.#script = drawScript(this.#draw);
    this.#bystanders.settle(4 * sizeOf(this.#script.given.outputShape));
    this.#look('out');
    this.description = this.#describe();
  }

  #describe(): string {
    const { given, method, memories, events, transfer } = this.#script;
    const { options, algorithm, inputShape, filterShape } = given;
    const kinds = ROLES.map((role) => `${role} ${memories[role]?.kind ?? '-'}`).join(', ');
    const shapes = `${inputShape.join('×')} * ${filterShape.join('×')} ${JSON.stringify(options)}`;
    const happenings = events.map(({ phase, what, role }) => `${phase}: ${what} ${role ?? ''}`);
    const gift = transfer.length > 0 ? ` gives ${transfer.join(', ')}` : '';
    return `${method} ${algorithm} ${shapes}; ${kinds};${gift} ${happenings.join(', ')}`;
  }

  /** Throws `Wrong` when the answer, an error, or any memory is not as it must be. */
  async play(): Promise<void> {
    let result: Promise<Tensor> | Tensor;
    try {
      result = this.#start();
    } catch (error) {
      this.#judge(error, undefined);
      return;
    }
    const judged = Promise.resolve(result).then(
      (output) => this.#judge(undefined, output),
      (error) => this.#judge(error, undefined),
    );
    judged.catch(() => {}); // is awaited below, but may come earlier
    this.#happen('returned');
    await null;
    this.#happen('microtask');
    await setImmediate();
    this.#happen('immediate');
    await setTimeout(2);
    this.#happen('later');
    await judged;
  }

  #start(): Promise<Tensor> | Tensor {
    const { method } = this.#script;
    const filter = { data: this.#data('filter'), shape: this.#script.given.filterShape };
    if (method === 'conv2d' || method === 'conv2dSync') {
      this.#happen('before');
      const options = Object.assign(this.#layerOptions(), this.#callOptions());
      if (method === 'conv2d') return conv2d(this.#input(), filter, options);
      return conv2dSync(this.#input(), filter, options);
    }
    this.#layer = new Conv2d(filter, this.#layerOptions());
    this.#happen('before');
    if (method === 'run') return this.#layer.run(this.#input(), this.#callOptions());
    return this.#layer.runSync(this.#input(), this.#callOptions());
  }

  /** Its `shape`, the last accessor a call reads, is where the phase `getter` is. */
  #input(): Tensor {
    const { inputShape } = this.#script.given;
    const happen = () => {
      this.#happen('getter');
      for (const role of ['input', 'add', 'out'] as const) this.#look(role);
      this.#expectLengths('input', 'add', 'out');
    };
    return {
      data: this.#data('input'),
      get shape() {
        happen();
        return inputShape;
      },
    };
  }

  /** Filter and bias are copied soon after `bias` was read. */
  #layerOptions(): Conv2dOptions {
    const { given, memories } = this.#script;
    return Object.defineProperty({ ...given.options, algorithm: given.algorithm }, 'bias', {
      get: () => {
        this.#happen('build');
        this.#look('filter');
        this.#look('bias');
        this.#expectLengths('filter', 'bias');
        return memories.bias?.data;
      },
      ...{ enumerable: true, configurable: true },
    });
  }

  #callOptions(): object {
    const { given, memories, isAsync, transfer } = this.#script;
    const form = (memory: Memory | null) =>
      memory !== null && this.#draw.chance(0.5)
        ? { data: memory.data, shape: given.outputShape }
        : memory?.data;
    const options = { add: form(memories.add), out: form(memories.out) };
    if (!isAsync) return options;
    const gift = transfer.length === GIVABLE.length ? true : transfer;
    return { ...options, signal: this.#controller.signal, transfer: gift };
  }

  #data(role: Role): Float32Array {
    return this.#script.memories[role]?.data ?? new Float32Array(0);
  }

  #look(role: Role): void {
    const memory = this.#script.memories[role];
    if (memory !== null) this.#seen[role] = memory.values();
  }

  #expectLengths(...roles: Role[]): void {
    const { inputShape, filterShape, outputShape, outChannels, algorithm } = this.#script.given;
    const outputs = sizeOf(outputShape);
    const counts = {
      ...{ input: sizeOf(inputShape), filter: sizeOf(filterShape) },
      ...{ bias: outChannels, add: outputs, out: outputs },
    };
    for (const role of roles) {
      const length = this.#seen[role]?.length ?? counts[role];
      if (length !== counts[role]) this.#mustFail.push(ARGUMENTS[role]);
      if (length > 0 && this.#gives(role) && !this.#script.memories[role]?.isTransferable) {
        this.#mustFail.push(ARGUMENTS[role]);
      }
    }
    // A filter that is not finite must not meet padding in the GEMM.
    if (algorithm === 'gemm' && this.#seen.filter?.some(Number.isNaN)) {
      this.#mayFail.push('options.algorithm');
    }
  }

  #happen(phase: Phase): void {
    for (const { what, role, phase: when } of this.#script.events) {
      if (when !== phase) continue;
      if (role !== undefined) this.#strike(role, what as Act, phase);
      else OTHER_DEEDS[what as (typeof OTHERS)[number]](this, phase);
    }
  }

  #strike(role: Role, act: Act, phase: Phase): void {
    const memory = this.#script.memories[role];
    if (memory === null || (role === 'out' && this.#isDelivered(phase))) return;
    memory.suffer(act);
    if (this.#gives(role) && isShared(memory.kind) && isAfterStart(phase)) this.#isUndefined = true;
    this.#bystanders.settle(4 * sizeOf(this.#script.given.outputShape));
    if (role !== 'out') return;
    this.#look('out');
    if (isAfterStart(phase)) this.#mayFail.push(ARGUMENTS.out);
  }

  #gives(role: Role): boolean {
    return (
      (this.#script.transfer as readonly Role[]).includes(role) &&
      this.#script.memories[role] !== null
    );
  }

  /** Whether the caller's `out` is no more his: the output is to come in another array. */
  #isOutTaken(): boolean {
    const { out } = this.#script.memories;
    const isEmpty = sizeOf(this.#script.given.outputShape) === 0;
    return out !== null && this.#gives('out') && !isShared(out.kind) && !isEmpty;
  }

  /** An empty output is there before `run` returns. */
  #isDelivered(phase: Phase): boolean {
    return this.#settled || (isAfterStart(phase) && sizeOf(this.#script.given.outputShape) === 0);
  }

  abort(phase: Phase): void {
    if (!this.#script.isAsync) return;
    this.#controller.abort();
    (isAfterStart(phase) ? this.#mayFail : this.#mustFail).push('AbortError');
  }

  /** Has an effect on later calls alone. */
  dispose(phase: Phase): void {
    this.#layer?.dispose();
    if (phase === 'before' && this.#layer !== null) this.#mustFail.push('disposed');
  }

  threads(): void {
    setThreads(this.#draw.integer(1, 4));
  }

  collect(): void {
    globalThis.gc?.();
    this.#bystanders.settle(4 * sizeOf(this.#script.given.outputShape));
  }

  reenter(): void {
    const two = new Conv2d({ data: new Float32Array([2]), shape: [1, 1, 1, 1] });
    const { data } = two.runSync({ data: new Float32Array([1, 2, 3]), shape: [1, 1, 1, 3] });
    if (data.join() !== '2,4,6') throw new Wrong(`a call within a call gave ${data}`);
  }

  /** The library alone knows of them from now on. */
  drop(phase: Phase): void {
    if (!isAfterStart(phase)) return;
    for (const role of ['input', 'filter', 'bias', 'add'] as const) {
      this.#script.memories[role] = null;
    }
    this.#layer = null;
    this.collect();
  }

  #judge(error: unknown, output: Tensor | undefined): void {
    this.#settled = true;
    if (error instanceof Wrong) throw error;
    if (output === undefined) this.#judgeError(error as Error);
    else if (this.#mustFail.length > 0) throw new Wrong(`no error for ${this.#mustFail}`);
    else this.#judgeOutput(output);
    for (const memory of Object.values(this.#script.memories)) {
      if (memory?.guardsHold() === false) throw new Wrong(`wrote beside a view (${memory.kind})`);
    }
    if (!this.#bystanders.unharmed()) throw new Wrong('wrote to another array');
  }

  #judgeError(error: Error & { readonly code?: string }): void {
    const allowed = [...this.#mustFail, ...this.#mayFail];
    const text = `${error.name} ${error.code}: ${error.message}`;
    if (!allowed.some((part) => text.includes(part))) throw new Wrong(`${error.stack}`);
    const { memories, transfer, events } = this.#script;
    const isRefused = this.#mustFail.some((part) => text.includes(part));
    if (!isRefused && this.#gives('out')) return;
    const out = memories.out?.values();
    if (out !== undefined && !sameBits(out, this.#seen.out ?? out)) {
      throw new Wrong(`failed (${text}), and yet wrote to out`);
    }
    if (!isRefused || events.some(({ phase }) => isAfterStart(phase))) return;
    for (const role of transfer) {
      const length = memories[role]?.length;
      if (length !== (this.#seen[role]?.length ?? length))
        throw new Wrong(`refused, and took ${role}`);
    }
  }

  #judgeOutput({ data, shape }: Tensor): void {
    const { given, memories } = this.#script;
    const { input, filter, bias = null, add = null } = this.#seen;
    if (input === undefined || filter === undefined) throw new Wrong('did not read its arguments');
    if (shape.join() !== given.outputShape.join()) throw new Wrong(`shape ${shape}`);
    if (this.#isUndefined) return;
    const isTaken = this.#isOutTaken();
    if (memories.out !== null && isTaken === (data === memories.out.data)) {
      throw new Wrong('gave the wrong array');
    }
    if (isTaken && memories.out?.guardsHoldIn(data) === false) throw new Wrong('wrote beside out');
    const values = memories.out === null || isTaken ? data : memories.out.values();
    const wrong = firstWrong(given, values, rightAnswer(given, { input, filter, bias, add }));
    if (wrong !== undefined) throw new Wrong(wrong);
  }
}

const ARGUMENTS = {
  input: 'input.data',
  filter: 'filter.data',
  bias: 'options.bias',
  add: 'options.add',
  out: 'options.out',
} as const satisfies Record<Role, string>;

const OTHER_DEEDS: Record<(typeof OTHERS)[number], (call: HostileCall, phase: Phase) => void> = {
  abort: (call, phase) => call.abort(phase),
  dispose: (call, phase) => call.dispose(phase),
  threads: (call) => call.threads(),
  collect: (call) => call.collect(),
  reenter: (call) => call.reenter(),
  drop: (call, phase) => call.drop(phase),
};

function isAfterStart(phase: Phase): boolean {
  return !(SYNC_PHASES as readonly Phase[]).includes(phase);
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) =>
    Buffer.from(buffer, byteOffset, byteLength);
  return bytes(a).equals(bytes(b));
}
