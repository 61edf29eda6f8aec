import type { Result } from './contest.js';
import type { Driver } from './drivers/driver.js';
import { formatGflops, formatMs, formatPercent, formatTimes } from './format.js';
import { leads } from './leads.js';
import type { Machine } from './machine.js';

const LAYER_WIDTH = 28;

export function machineLines(machine: Machine, drivers: readonly Driver[]): string[] {
  const { cpu, cores, isa, peakGflops, memoryBytes, platform, node, gemmconv } = machine;
  const peak =
    peakGflops === undefined
      ? 'FMA peak unknown (`npm run bench` in the repository measures it)'
      : `FMA peak ${peakGflops.toFixed(1)} GFLOP/s a thread, measured`;
  const versions = drivers.flatMap(({ version }) => version ?? []);
  const peers = [...new Set(versions)].join(', ') || 'no peers installed';
  return [
    `${cpu}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${platform}`,
    `ISA ${isa}, ${peak}`,
    `gemmconv ${gemmconv}, Node ${node}, ${peers}`,
  ];
}

/** One layer, a line a driver. */
export function detailLines(results: readonly Result[], peakGflops: number | undefined): string[] {
  const naive = results.find(({ driver }) => driver === 'naive TS');
  const header = ['', 'ms', 'median', 'GFLOP/s', '% of peak', '× naive', 'error'];
  const rows = results.map((result) => [
    result.driver,
    formatMs(result.msMin),
    formatMs(result.msMedian),
    formatGflops(result.gflops),
    formatPercent(result, peakGflops),
    naive === undefined ? '' : formatTimes(naive.msMin / result.msMin),
    result.error.toExponential(1),
  ]);
  return [header, ...rows].map((cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(18) : cell.padStart(10))).join(''),
  );
}

/** Many layers, a line a layer and a column a driver: milliseconds, and per cent of peak. */
export class Grid {
  readonly #drivers: readonly string[];
  readonly #widths: readonly number[];
  readonly #peakGflops: number | undefined;
  readonly #best: string;

  /** @param best the driver whose GFLOP/s, speed-up and error the last columns give. */
  constructor(drivers: readonly string[], best: string, peakGflops: number | undefined) {
    this.#drivers = drivers;
    this.#widths = drivers.map(({ length }) => Math.max(length, '0.000123   45%'.length) + 2);
    this.#best = best;
    this.#peakGflops = peakGflops;
  }

  header(): string {
    return this.#line('ms (% of peak)', this.#drivers, [this.#best, '× naive', 'error']);
  }

  row(layer: string, results: readonly Result[]): string {
    const of = (driver: string) => results.find((result) => result.driver === driver);
    const cells = this.#drivers.map((driver) => {
      const result = of(driver);
      if (result === undefined) return '-';
      const percent = formatPercent(result, this.#peakGflops);
      return `${formatMs(result.msMin)} ${percent.padStart(5)}`;
    });
    const best = of(this.#best);
    const naive = of('naive TS');
    if (best === undefined) return this.#line(layer, cells, []);
    const times = naive === undefined ? '-' : formatTimes(naive.msMin / best.msMin);
    const gflops = `${best.gflops.toFixed(1)} GF/s`;
    return this.#line(layer, cells, [gflops, times, best.error.toExponential(1)]);
  }

  #line(layer: string, cells: readonly string[], last: readonly string[]): string {
    const columns = cells.map((cell, i) => cell.padStart(this.#widths[i] ?? 0)).join('');
    return layer.padEnd(LAYER_WIDTH) + columns + last.map((cell) => cell.padStart(12)).join('');
  }
}

/** How far ahead `best` is of each other driver, over the layers that both did. */
export function geomeanLines(results: readonly Result[], best: string): string[] {
  return leads(results, best).map(({ driver, times, layers }) => {
    const mean = `geomean of ${layers} layer${layers === 1 ? '' : 's'}`;
    return `${best} is ${formatTimes(times)} as fast as ${driver} (${mean})`;
  });
}
