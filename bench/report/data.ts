import type { Result } from '../contest.js';
import type { BenchLayer } from '../layers.js';
import type { Machine, Roof } from '../machine.js';

/** All that a page is made of. */
export interface ReportData {
  /** ISO 8601. */
  readonly date: string;
  /** What was typed. */
  readonly command: string;
  readonly machine: Machine;
  /** Package and version of the peers. */
  readonly peers: readonly string[];
  /** Those measured, in order; the first table shows the first. */
  readonly layers: readonly BenchLayer[];
  /** In the order of the columns. */
  readonly drivers: readonly string[];
  /** Of the multi-threaded drivers. */
  readonly threads: number;
  readonly results: readonly Result[];
  /** This library alone, on some layers, at every number of threads. */
  readonly scaling: readonly Result[];
  readonly roofs: readonly Roof[];
}

export function resultsOf({ results }: ReportData, layer: string): readonly Result[] {
  return results.filter((result) => result.layer === layer);
}
