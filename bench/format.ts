import type { Result } from './contest.js';

/** Three significant digits. */
export function formatMs(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  if (ms >= 10) return ms.toFixed(1);
  if (ms >= 1) return ms.toFixed(2);
  return ms >= 0.1 ? ms.toFixed(3) : ms.toPrecision(3);
}

export function formatTimes(ratio: number): string {
  return `${ratio >= 100 ? ratio.toFixed(0) : ratio.toFixed(ratio < 10 ? 2 : 1)}×`;
}

/** Of what the threads it may use could do. */
export function formatPercent({ gflops, threads }: Result, peakGflops: number | undefined): string {
  if (peakGflops === undefined) return '-';
  const percent = (100 * gflops) / (peakGflops * threads);
  return `${percent.toFixed(percent < 9.5 ? 1 : 0)}%`;
}

export function formatGflops(gflops: number): string {
  return gflops.toFixed(gflops < 10 ? 2 : 1);
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 2 ** 20) return `${(bytes / 2 ** 10).toPrecision(3)} KiB`;
  return `${(bytes / 2 ** 20).toPrecision(3)} MiB`;
}

export function geomean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
