import { type Algorithm, Conv2d, info, setThreads } from 'gemmconv';
import type { Effort } from './clock.js';
import { contest } from './contest.js';
import { type Driver, nchwOutput } from './drivers/driver.js';
import { im2colDriver } from './drivers/im2col.js';
import { naiveDriver } from './drivers/naive.js';
import { formatGflops, formatMs, formatPercent, formatTimes } from './format.js';
import { setIsa } from './internals.js';
import type { BenchLayer } from './layers.js';
import { canPlan } from './plannable.js';
import { sizeOf } from './workload.js';

/** One idea more than the rung below; docs/guide/performance.md tells why each is faster. */
interface Rung {
  readonly idea: string;
  readonly driver: Driver;
}

interface Settings {
  readonly algorithm: Algorithm;
  readonly isa: string;
  readonly threads: number;
}

/** From the definition to what the library does; each native rung changes one setting. */
function rungsOf(threads: number): readonly Rung[] {
  const isas = isasUpTo(info().isa);
  const isa = isas[isas.length - 1] as string;
  const rung = (idea: string, settings: Settings) => ({ idea, driver: nativeRung(settings) });
  const upper = [
    rung('no packing, no padded taps', { algorithm: 'direct', isa, threads: 1 }),
    rung('more cores', { algorithm: 'direct', isa, threads }),
    rung('fewer multiplications', { algorithm: 'winograd', isa, threads }),
  ];
  return [
    { idea: 'the definition', driver: naiveDriver(Number.POSITIVE_INFINITY) },
    { idea: 'a matrix product', driver: im2colDriver(Number.POSITIVE_INFINITY) },
    ...isas.map((isa, i) => {
      const idea = i === 0 ? 'packed blocks, register tiles' : 'wider vectors, more registers';
      return rung(idea, { algorithm: 'gemm', isa, threads: 1 });
    }),
    ...upper.filter(({ idea }) => threads > 1 || idea !== 'more cores'),
  ];
}

/** The instruction sets this CPU runs, from the narrowest to `last`. */
function isasUpTo(last: string): string[] {
  const isas = info().availableIsas;
  return isas.slice(0, isas.indexOf(last) + 1);
}

/** This library with every choice made for it. */
function nativeRung({ algorithm, isa, threads }: Settings): Driver {
  const choose = () => {
    setIsa(isa);
    setThreads(threads);
  };
  return {
    name: `${algorithm} ${isa} ${threads}t`,
    threads,
    async prepare(workload) {
      const { input, filter, bias, outputShape } = workload;
      const { stride, padding, dilation, groups } = workload.layer;
      const options = { bias, stride, padding, dilation, groups, algorithm };
      const layer = new Conv2d(filter, options);
      choose();
      if (!canPlan(layer, input.shape)) return undefined;
      const call = { out: new Float32Array(sizeOf(outputShape)) };
      const run = () => void layer.runSync(input, call);
      return {
        enter: () => {
          choose();
          run(); // makes the plan that other settings have undone
        },
        run,
        output: () => nchwOutput(call.out, workload),
        dispose: () => layer.dispose(),
      };
    },
  };
}

const TITLES = ['ms', 'GFLOP/s', '% of peak', '× before', '× first', 'error'] as const;
const IDEA_WIDTH = 32;
const DRIVER_WIDTH = 22;

export function ladderHeader(): string {
  return lineOf('rung', 'computed by', TITLES);
}

/** Times all rungs that can do the layer in turn, and says how much faster each is. */
export async function ladderLines(
  layer: BenchLayer,
  threads: number,
  effort: Effort,
  peakGflops: number | undefined,
): Promise<string[]> {
  const rungs = rungsOf(threads);
  const results = await contest(
    layer,
    rungs.map(({ driver }) => driver),
    effort,
  );
  return results.map((result, i) => {
    const timesFaster = (other = result) => formatTimes(other.msMin / result.msMin);
    return lineOf(rungs.find(({ driver }) => driver.name === result.driver)?.idea, result.driver, [
      formatMs(result.msMin),
      formatGflops(result.gflops),
      formatPercent(result, peakGflops),
      i === 0 ? '' : timesFaster(results[i - 1]),
      i === 0 ? '' : timesFaster(results[0]),
      result.error.toExponential(1),
    ]);
  });
}

function lineOf(idea: string | undefined, driver: string, cells: readonly string[]): string {
  const first = (idea ?? '').padEnd(IDEA_WIDTH) + driver.padEnd(DRIVER_WIDTH);
  return first + cells.map((cell) => cell.padStart(10)).join('');
}
