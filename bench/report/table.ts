import type { Result } from '../contest.js';
import { formatGflops, formatMs, formatPercent, formatTimes } from '../format.js';
import { type BenchLayer, macsOf } from '../layers.js';
import { type Markup, markup } from './markup.js';
import { seriesOf } from './series.js';

/** One layer, a row a driver. */
export function driverTable(
  layer: BenchLayer,
  results: readonly Result[],
  peakGflops: number | undefined,
): Markup {
  const naive = results.find(({ driver }) => driver === 'naive TS');
  const rows = results.map((result) => {
    const times = naive === undefined ? '–' : formatTimes(naive.msMin / result.msMin);
    return markup`<tr>
<th scope="row"><i class="${seriesOf(result.driver)}"></i>${result.driver}</th>
<td>${formatMs(result.msMin)}</td>
<td class="second">${formatMs(result.msMedian)}</td>
<td>${formatGflops(result.gflops)}</td>
<td>${formatPercent(result, peakGflops)}</td>
<td>${times}</td>
<td>${result.error.toExponential(1)}</td>
</tr>`;
  });
  const { C, OC, H, W, KH, KW } = layer;
  return markup`<div class="scroll"><table class="drivers">
<caption>${layer.name}: ${KH}×${KW} filter, ${C}→${OC} channels, ${H}×${W} pixels,
${(macsOf(layer) / 1e6).toPrecision(3)} M multiply-adds</caption>
<thead><tr><th scope="col">driver</th><th scope="col">ms</th>
<th scope="col" class="second">median</th><th scope="col">GFLOP/s</th>
<th scope="col">% of peak</th><th scope="col">× naive</th><th scope="col">error</th></tr></thead>
<tbody>${rows}</tbody>
</table></div>`;
}
