import { errorOf, referenceOf, TOLERANCE, winogradBoundOf } from './check.js';
import { type Effort, measure, medianOf } from './clock.js';
import type { Driver, Prepared } from './drivers/driver.js';
import { type BenchLayer, macsOf } from './layers.js';
import { makeWorkload, type Workload } from './workload.js';

/** What one driver reached on one layer. */
export interface Result {
  readonly layer: string;
  readonly driver: string;
  readonly threads: number;
  /** Per call. */
  readonly msMin: number;
  readonly msMedian: number;
  readonly msSamples: readonly number[];
  /** Of the fastest sample; 2 operations a multiply-accumulate, padded taps counted. */
  readonly gflops: number;
  /** Largest, against double, relative to Σ|input · filter| + |bias|. */
  readonly error: number;
  /** Of this library: the variant of the algorithm, and where that is not exact, its error bound. */
  readonly variant?: string;
  readonly bound?: number;
}

interface Competitor {
  readonly driver: Driver;
  readonly prepared: Prepared;
  readonly error: number;
  readonly bound: number | undefined;
}

export class WrongAnswer extends Error {}

/** Lets every driver that can do the layer answer, checks the answers, then times them in turn. */
export async function contest(
  layer: BenchLayer,
  drivers: readonly Driver[],
  effort: Effort,
): Promise<Result[]> {
  const competitors = await admit(makeWorkload(layer), drivers);
  const samples = await measure(
    competitors.map(({ prepared }) => prepared),
    effort,
  );
  const results = competitors.map(({ driver, prepared, error, bound }, i): Result => {
    const msSamples = samples[i] ?? [];
    const msMin = Math.min(...msSamples);
    return {
      layer: layer.name,
      driver: driver.name,
      threads: driver.threads,
      ...{ msMin, msMedian: medianOf(msSamples), msSamples },
      gflops: (2e-6 * macsOf(layer)) / msMin,
      error,
      ...(prepared.plan && { variant: prepared.plan.variant }),
      ...(bound !== undefined && { bound }),
    };
  });
  for (const { prepared } of competitors) await prepared.dispose?.();
  return results;
}

/** Those that can do the workload, in reasonable time, and whose first answer is right. */
async function admit(workload: Workload, drivers: readonly Driver[]): Promise<Competitor[]> {
  const reference = referenceOf(workload);
  const macs = macsOf(workload.layer);
  const competitors: Competitor[] = [];
  for (const driver of drivers) {
    if (macs > (driver.maxMacs ?? Number.POSITIVE_INFINITY)) continue;
    const prepared = await driver.prepare(workload);
    if (prepared === undefined) continue;
    prepared.enter?.();
    await prepared.run();
    const error = errorOf(prepared.output(), reference);
    if (!(error <= TOLERANCE)) {
      const name = `${driver.name} on ${workload.layer.name}`;
      throw new WrongAnswer(`${name} is wrong: error ${error} of Σ|input·filter|`);
    }
    const isWinograd = prepared.plan?.algorithm === 'winograd';
    const bound = isWinograd ? winogradBoundOf(workload, reference) : undefined;
    competitors.push({ driver, prepared, error, bound });
  }
  return competitors;
}
