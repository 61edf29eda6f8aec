// The types as a user's compiler sees them, in dist/. `npm run lint` checks this file, and that each
// line that is marked as an error is one; running it does nothing more.
import { createRequire } from 'node:module';
import type * as Gemmconv from 'gemmconv';
import type {
  Algorithm,
  Conv2d,
  Conv2dOptions,
  Conv2dPlan,
  Info,
  Padding,
  RunOptions,
  RunSyncOptions,
  Stats,
  Tensor,
} from 'gemmconv';
import { describe, expectTypeOf, test } from 'vitest';

const {
  conv2d,
  conv2dSync,
  Conv2d: Layer,
  setLimits,
} = createRequire(import.meta.url)('gemmconv') as typeof Gemmconv;

test('what the package exports', () => {
  expectTypeOf<keyof typeof Gemmconv>().toEqualTypeOf<
    | 'Conv2d'
    | 'conv2d'
    | 'conv2dSync'
    | 'getThreads'
    | 'info'
    | 'setLimits'
    | 'setThreads'
    | 'stats'
  >();
});

describe('tensors are structural', () => {
  test('anything with data and shape', () => {
    class NdArray {
      data = new Float32Array(4);
      shape = [2, 2] as const;
      strides = [2, 1];
    }
    expectTypeOf<NdArray>().toExtend<Tensor>();
    expectTypeOf<{ data: Float32Array; shape: number[] }>().toExtend<Tensor>();
    expectTypeOf<{ data: Float32Array<SharedArrayBuffer>; shape: number[] }>().toExtend<Tensor>();
  });

  test('of float32, with both', () => {
    expectTypeOf<{ data: Float64Array; shape: number[] }>().not.toExtend<Tensor>();
    expectTypeOf<{ data: number[]; shape: number[] }>().not.toExtend<Tensor>();
    expectTypeOf<{ data: Float32Array }>().not.toExtend<Tensor>();
    expectTypeOf<Float32Array>().not.toExtend<Tensor>();
  });
});

test('a layer', () => {
  expectTypeOf<typeof Layer>().constructorParameters.toEqualTypeOf<[Tensor, Conv2dOptions?]>();
  expectTypeOf<Conv2d['run']>().toEqualTypeOf<
    (input: Tensor, options?: RunOptions) => Promise<Tensor>
  >();
  expectTypeOf<Conv2d['runSync']>().toEqualTypeOf<
    (input: Tensor, options?: RunSyncOptions) => Tensor
  >();
  expectTypeOf<Conv2d['outputShape']>().toEqualTypeOf<(shape: readonly number[]) => number[]>();
  expectTypeOf<Conv2d['macs']>().returns.toEqualTypeOf<number>();
  expectTypeOf<Conv2d['plan']>().returns.toEqualTypeOf<Conv2dPlan>();
  expectTypeOf<Conv2d>().toExtend<Disposable>();
  expectTypeOf<Conv2dPlan>().toHaveProperty('workspaceBytes').toEqualTypeOf<number>();
});

test('one call', () => {
  expectTypeOf(conv2d).parameters.toEqualTypeOf<[Tensor, Tensor, (Conv2dOptions & RunOptions)?]>();
  expectTypeOf(conv2d).returns.resolves.toEqualTypeOf<Tensor>();
  expectTypeOf(conv2dSync).returns.toEqualTypeOf<Tensor>();
});

test('options', () => {
  expectTypeOf<1 | 'same' | 'valid' | 'same-lower'>().toExtend<Padding>();
  expectTypeOf<readonly [1, 2]>().toExtend<Padding>();
  expectTypeOf<{ top: 0; left: 0; bottom: 1; right: 1 }>().toExtend<Padding>();
  expectTypeOf<'full' | [1] | { top: 1 }>().not.toExtend<Padding>();
  expectTypeOf<Algorithm>().toEqualTypeOf<
    'auto' | 'exact' | 'gemm' | 'direct' | 'depthwise' | 'winograd'
  >();
  expectTypeOf<RunOptions>().toHaveProperty('signal').toEqualTypeOf<AbortSignal | undefined>();
  expectTypeOf<RunSyncOptions>().not.toHaveProperty('signal');
});

test('what is computed is not to be written to', () => {
  expectTypeOf<Info>().toEqualTypeOf<Readonly<Info>>();
  expectTypeOf<Stats>().toEqualTypeOf<Readonly<Stats>>();
  expectTypeOf<Conv2dPlan>().toEqualTypeOf<Readonly<Conv2dPlan>>();
});

test('mistakes are errors of the compiler', () => {
  const tensor: Tensor = { data: new Float32Array(1), shape: [1, 1, 1, 1] };
  return () => {
    // @ts-expect-error: misspelt
    new Layer(tensor, { stide: 2 });
    // @ts-expect-error: three numbers
    new Layer(tensor, { stride: [1, 2, 3] });
    // @ts-expect-error: no such activation
    new Layer(tensor, { activation: 'gelu' });
    // @ts-expect-error: a clamp needs its bounds
    new Layer(tensor, { activation: { type: 'clamp', min: 0 } });
    // @ts-expect-error: a bias of float64
    new Layer(tensor, { bias: new Float64Array(1) });
    // @ts-expect-error: nothing waits for a synchronous call
    conv2dSync(tensor, tensor, { signal: AbortSignal.timeout(1) });
    // @ts-expect-error: a filter is needed
    conv2d(tensor);
    // @ts-expect-error: misspelt
    setLimits({ pending: 3 });
  };
});
