// Every argument × every wrong kind of value, generated: `KINDS` below is put in the place of each
// argument in turn. What is right is decided by `accepts`, written apart from the library; all the
// rest must give an error of the one shape, the same from every function, thrown or as a rejection.
import { afterAll, expect, test } from 'vitest';
import { Conv2d, conv2d, conv2dSync, setLimits, setThreads, stats } from '../lib/index.js';
import { KINDS, type Kind } from './kinds.js';
import { type CodedError, ones, wrong } from './wrong.js';

/** What a call is made of, all of it right. */
interface Arguments {
  filter: unknown;
  options: Record<string, unknown> | unknown;
  input: unknown;
  call: Record<string, unknown> | unknown;
  threads: unknown;
  limits: unknown;
}

const OUTPUT = [1, 4, 3, 4] as const;
const UNTOUCHED = 7;

function rightArguments(): Arguments {
  return {
    filter: ones(4, 2, 3, 3),
    options: {
      ...{ bias: ones(4), stride: [1, 1], dilation: [1, 1], groups: 2, layout: 'nchw' },
      padding: { top: 0, left: 0, bottom: 0, right: 0 },
      ...{ activation: { type: 'clamp', min: 0, max: 100 }, filterLayout: 'oihw' },
      algorithm: 'exact',
    },
    input: ones(1, 4, 5, 6),
    call: {
      add: { data: new Float32Array(48), shape: OUTPUT },
      out: { data: new Float32Array(48).fill(UNTOUCHED), shape: OUTPUT },
    },
    threads: 2,
    limits: { maxPending: 1000, maxPendingBytes: 2 ** 40 },
  };
}

/** A copy of `tree` with `value` at a path like `call.out.data`; arrays are copied as arrays. */
function put<T>(tree: T, path: readonly string[], value: unknown): T {
  const [first, ...rest] = path;
  if (first === undefined) return value as T;
  const child = put((tree as Record<string, unknown>)[first], rest, value);
  if (Array.isArray(tree)) return Object.assign([...tree], { [first]: child }) as T;
  return { ...tree, [first]: child };
}

type Call = (given: Arguments) => unknown;
const build = (given: Arguments) => new Conv2d(wrong(given.filter), wrong(given.options));
const together = ({ options, call }: Arguments) =>
  wrong({ ...(options as object), ...(call as object) });

/** The functions that an argument is given to. */
const BUILDERS: readonly Call[] = [build];
const ONE_OFFS: readonly Call[] = [
  (given) => conv2dSync(wrong(given.input), wrong(given.filter), together(given)),
  (given) => conv2d(wrong(given.input), wrong(given.filter), together(given)),
];
const layer = build(rightArguments());
const RUNS: readonly Call[] = [
  ({ input, call }) => layer.runSync(wrong(input), wrong(call)),
  ({ input, call }) => layer.run(wrong(input), wrong(call)),
];
const SHAPES: readonly Call[] = [
  ({ input }) => layer.outputShape(wrong((input as { shape: unknown }).shape)),
  ({ input }) => layer.macs(wrong((input as { shape: unknown }).shape)),
  ({ input }) => layer.plan(wrong((input as { shape: unknown }).shape)),
];
const SETTINGS: readonly Call[] = [({ threads }) => setThreads(wrong(threads))];
const LIMITS: readonly Call[] = [({ limits }) => setLimits(wrong(limits))];

const { maxPending, maxPendingBytes } = stats();
afterAll(() => setLimits({ maxPending, maxPendingBytes }));

/** Whether a value is right, by the documentation. */
type Accepts = (value: unknown) => boolean;

const nothing: Accepts = () => false;
const oneOf =
  (...names: unknown[]): Accepts =>
  (value) =>
    names.includes(value);
const integer =
  (least: number, most = Number.MAX_SAFE_INTEGER): Accepts =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
const pair = (least: number): Accepts => {
  const one = integer(least);
  return (value) => {
    if (!Array.isArray(value)) return one(value);
    return value.length === 2 && one(value[0]) && one(value[1]);
  };
};
const number =
  (least: number, most: number): Accepts =>
  (value) =>
    typeof value === 'number' && value >= least && value <= most;
const padding: Accepts = (value) =>
  pair(0)(value) || oneOf(undefined, 'valid', 'same', 'same-lower')(value);
const orLeftOut =
  (accepts: Accepts): Accepts =>
  (value) =>
    value === undefined || accepts(value);
/** Any object without a name that nobody knows. */
const noOptions: Accepts = (value) =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  (!ArrayBuffer.isView(value) || value instanceof DataView) &&
  Object.keys(value).length === 0;

interface Row {
  readonly path: string;
  /** How the argument may be called in messages, or what it does not fit. */
  readonly name: RegExp;
  readonly calls: readonly Call[];
  readonly accepts: Accepts;
}

const row = (path: string, name: string, calls: readonly Call[], accepts: Accepts): Row => {
  return { path, name: new RegExp(`^(${name.replaceAll(/[.[\]]/g, '\\$&')})`), calls, accepts };
};

const LAYER = [...BUILDERS, ...ONE_OFFS];
const CALL = [...RUNS, ...ONE_OFFS];
const axes = [0, 1, 2, 3];
const sides = ['top', 'left', 'bottom', 'right'];

const ROWS: readonly Row[] = [
  row('filter', 'filter', LAYER, nothing),
  row('filter.data', 'filter.data', LAYER, nothing),
  row('filter.shape', 'filter|options.groups', LAYER, nothing),
  ...axes.map((axis) => row(`filter.shape.${axis}`, 'filter|options.groups', LAYER, nothing)),
  row('options', 'options', BUILDERS, orLeftOut(noOptions)),
  row('options.bias', 'options.bias', LAYER, orLeftOut(nothing)),
  row('options.bias.data', 'options.bias', LAYER, nothing),
  row('options.bias.shape', 'options.bias.shape', LAYER, nothing),
  ...['stride', 'dilation'].flatMap((name) => [
    row(`options.${name}`, `options.${name}`, BUILDERS, orLeftOut(pair(1))),
    row(`options.${name}.0`, `options.${name}[0]`, BUILDERS, integer(1)),
    row(`options.${name}.1`, `options.${name}[1]`, BUILDERS, integer(1)),
  ]),
  row('options.padding', 'options.padding', BUILDERS, padding),
  ...sides.map((side) =>
    row(`options.padding.${side}`, `options.padding.${side}`, BUILDERS, integer(0)),
  ),
  row('options.groups', 'options.groups', BUILDERS, oneOf(undefined, 1, 2, 4)),
  row('options.activation', 'options.activation', LAYER, oneOf(undefined, 'relu')),
  row('options.activation.type', 'options.activation.type', LAYER, nothing),
  row('options.activation.min', 'options.activation.m', BUILDERS, number(-Infinity, 100)),
  row('options.activation.max', 'options.activation.max', BUILDERS, number(0, Infinity)),
  row('options.activation.alpha', 'options.activation.alpha', LAYER, oneOf(undefined)),
  row('options.layout', 'options.layout', LAYER, oneOf(undefined)),
  row('options.filterLayout', 'options.filterLayout', LAYER, oneOf(undefined)),
  row('options.algorithm', 'options.algorithm', LAYER, oneOf(undefined)),
  row('input', 'input', CALL, nothing),
  row('input.data', 'input.data', CALL, nothing),
  row('input.shape', 'input', CALL, nothing),
  row('input.shape.0', 'input|options.add.shape', CALL, oneOf(1)),
  ...[1, 2, 3].map((axis) => row(`input.shape.${axis}`, 'input|options.add.shape', CALL, nothing)),
  row('input.shape', 'shape', SHAPES, nothing),
  row('input.shape.0', 'shape', SHAPES, integer(0, 2 ** 40)),
  row('input.shape.1', 'shape', SHAPES, nothing),
  ...[2, 3].map((axis) => row(`input.shape.${axis}`, 'shape', SHAPES, integer(3, 2 ** 40))),
  row('call', 'options', [RUNS[0] as Call], orLeftOut(noOptions)),
  // From Node 21 on an ArrayBuffer has a method `transfer`, and so names that option of `run`.
  row(
    'call',
    'options',
    [RUNS[1] as Call],
    (value) => value === undefined || (noOptions(value) && !('transfer' in (value as object))),
  ),
  ...['add', 'out'].flatMap((name) => [
    row(`call.${name}`, `options.${name}`, CALL, orLeftOut(nothing)),
    row(`call.${name}.data`, `options.${name}`, CALL, nothing),
    row(`call.${name}.shape`, `options.${name}.shape`, CALL, nothing),
  ]),
  row('call.signal', 'options.signal', [RUNS[1] as Call, ONE_OFFS[1] as Call], orLeftOut(nothing)),
  row(
    'call.transfer',
    'options.transfer',
    [RUNS[1] as Call, ONE_OFFS[1] as Call],
    (value) => oneOf(undefined, true, false)(value) || (Array.isArray(value) && value.length === 0),
  ),
  row('threads', 'threads', SETTINGS, integer(1, 1024)),
  row('limits', 'limits', LIMITS, orLeftOut(noOptions)),
  ...['maxPending', 'maxPendingBytes'].map((name) =>
    row(
      `limits.${name}`,
      `limits.${name}`,
      LIMITS,
      (value) => [undefined, Infinity].includes(value as number) || integer(1)(value),
    ),
  ),
];

async function errorOf(call: Call, given: Arguments): Promise<CodedError | undefined> {
  try {
    await call(given);
  } catch (error) {
    return error as CodedError;
  }
  return undefined;
}

const CLASSES: Readonly<Record<string, unknown>> = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: RangeError,
  ERR_OUT_OF_RANGE: RangeError,
};

/** What is wrong with an error that some value gave; else undefined. */
function faultOf(error: CodedError, { path, name }: Row, kind: Kind): string | undefined {
  if (kind.throws === true && error.message === 'mine') return undefined;
  const words = /^Expected .{1,200} for (.{1,60}), received [^\n]{1,300}$/.exec(error.message);
  if (words === null) return 'the message has another shape';
  const about = (words[1] ?? '').replace('the property names of ', '');
  if (!name.test(about)) return `the message is about ${about}`;
  if (error.constructor !== CLASSES[error.code]) return `${error.name} with code ${error.code}`;
  if (!/\.(\d|top|left|bottom|right|min|max|groups)$|threads/.test(path)) return undefined;
  const isNumber = typeof kind.make() === 'number';
  if (isNumber === (error.code !== 'ERR_INVALID_ARG_TYPE')) return undefined;
  return `${error.code} for a ${isNumber ? 'number' : 'value that is no number'}`;
}

function isRight({ accepts }: Row, kind: Kind): boolean {
  try {
    return accepts(kind.make());
  } catch {
    return false; // a value's own code threw
  }
}

test.each(ROWS)('$path: $name', async (row) => {
  const faults: string[] = [];
  for (const kind of KINDS) {
    const messages = new Set<string>();
    const fault = (what: string) => faults.push(`${kind.kind}: ${what} (${[...messages].pop()})`);
    for (const call of row.calls) {
      const right = rightArguments();
      const { data } = (right.call as { out: { data: Float32Array } }).out;
      const error = await errorOf(call, put(right, row.path.split('.'), kind.make()));
      // `run` knows two names more.
      if (error !== undefined) messages.add(error.message.replace(", 'signal', 'transfer'", ''));
      if (isRight(row, kind) === (error !== undefined)) fault(error ? 'refused' : 'accepted');
      if (error === undefined) continue;
      const what = faultOf(error, row, kind);
      if (what !== undefined) fault(what);
      if (data.some((value) => value !== UNTOUCHED)) fault('failed, and wrote to out');
    }
    if (messages.size > 1) fault(`functions differ: ${[...messages].join(' / ')}`);
  }
  expect(faults).toEqual([]);
});

test('runSync does not read what run alone takes', () => {
  const { input } = rightArguments();
  const inherited = Object.create({ signal: 'of somebody else', transfer: 'likewise' });
  expect(layer.runSync(wrong(input), inherited).shape).toEqual(OUTPUT);
});

test('the arguments that are right are so', async () => {
  for (const call of [...LAYER, ...CALL, ...SHAPES, ...SETTINGS, ...LIMITS]) {
    expect(await errorOf(call, rightArguments())).toBeUndefined();
  }
});

// Whose strides the core would multiply beyond 64 bits, for UBSan to tell.
test.each(['nchw', 'nhwc'] as const)(
  'a dilation between the taps of one tap is none: %s',
  (layout) => {
    const image = ones(...(layout === 'nchw' ? [1, 32, 3, 64] : [1, 3, 64, 32]));
    for (const kernel of [
      [32, 8, 1, 3],
      [32, 1, 1, 3],
      [8, 32, 1, 1],
    ]) {
      const filter = ones(...kernel);
      const options = { groups: 32 / (kernel[1] ?? 1), layout };
      const far = new Conv2d(filter, { ...options, dilation: [Number.MAX_SAFE_INTEGER, 1] });
      expect(far.runSync(image)).toEqual(new Conv2d(filter, options).runSync(image));
    }
  },
);
