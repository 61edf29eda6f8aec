import type { Effort } from './clock.js';
import { contest, type Result } from './contest.js';
import { nativeDriver } from './drivers/native.js';
import { type BenchLayer, outputShapeOf } from './layers.js';
import { sizeOf } from './workload.js';

const COLUMNS = ['output', 'out', 'fresh', 'memory'] as const;

export function freshHeader(): string {
  return 'mean ms a call'.padEnd(28) + COLUMNS.map((title) => title.padStart(10)).join('');
}

/** What a layer takes into a given array, and into a new one: means, since collections count. */
export async function freshLine(
  layer: BenchLayer,
  threads: number,
  effort: Effort,
): Promise<string> {
  const drivers = [nativeDriver(threads), nativeDriver(threads, { fresh: true })];
  const [given, fresh] = (await contest(layer, drivers, effort)).map(meanOf);
  if (given === undefined || fresh === undefined) throw new Error('The library declined a layer');
  const megabytes = (4 * sizeOf(outputShapeOf(layer))) / 2 ** 20;
  const cells = [
    `${megabytes.toPrecision(3)} MiB`,
    given.toPrecision(3),
    fresh.toPrecision(3),
    `${(100 * Math.max(0, 1 - given / fresh)).toFixed(0)} %`,
  ];
  return layer.name.padEnd(28) + cells.map((cell) => cell.padStart(10)).join('');
}

function meanOf({ msSamples }: Result): number {
  return msSamples.reduce((a, b) => a + b, 0) / msSamples.length;
}
