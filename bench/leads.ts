import type { Result } from './contest.js';
import { geomean } from './format.js';

/** How far ahead of another driver. */
export interface Lead {
  readonly driver: string;
  /** Geometric mean of the ratios of times, */
  readonly times: number;
  /** over so many layers that both did. */
  readonly layers: number;
}

export function leads(results: readonly Result[], best: string): readonly Lead[] {
  const own = new Map<string, Result>();
  for (const result of results) if (result.driver === best) own.set(result.layer, result);
  const ratios = new Map<string, number[]>();
  for (const { layer, driver, msMin } of results) {
    const ours = own.get(layer);
    if (driver === best || ours === undefined) continue;
    ratios.set(driver, [...(ratios.get(driver) ?? []), msMin / ours.msMin]);
  }
  return [...ratios].map(([driver, times]) => ({
    ...{ driver, times: geomean(times), layers: times.length },
  }));
}
