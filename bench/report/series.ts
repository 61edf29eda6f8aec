import { type Markup, markup } from './markup.js';

/** The style class of a driver, which decides its colour. */
export function seriesOf(driver: string): string {
  if (driver === 'naive TS') return 'naive';
  if (driver === 'im2col+GEMM TS') return 'columns';
  if (driver === 'tfjs-wasm') return 'tfjs';
  const [, name, threads] = /^(native|ort) (\d+)t$/.exec(driver) ?? [];
  if (name === undefined) return 'other';
  return threads === '1' ? name : `${name}-all`;
}

/** What the drivers' short names stand for. */
export function legend(drivers: readonly string[]): Markup {
  const entries = drivers.map(
    (driver) => markup`<li><i class="${seriesOf(driver)}"></i>${meaningOf(driver)}</li>`,
  );
  return markup`<ul class="legend">${entries}</ul>`;
}

/** What it is, in words. */
export function meaningOf(driver: string): string {
  const [, name, threads] = /^(native|ort) (\d+)t$/.exec(driver) ?? [];
  if (name === undefined) return driver;
  const on = threads === '1' ? 'one thread' : `${threads} threads`;
  return name === 'ort' ? `onnxruntime-node, ${on}` : `gemmconv, ${on}`;
}

/** Those of this library. */
export function ownDrivers(drivers: readonly string[]): readonly string[] {
  return drivers.filter((driver) => driver.startsWith('native '));
}
