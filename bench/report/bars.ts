import type { Result } from '../contest.js';
import { formatGflops, formatMs } from '../format.js';
import type { BenchLayer } from '../layers.js';
import { type ReportData, resultsOf } from './data.js';
import { type Markup, markup } from './markup.js';
import { type Network, networksOf } from './networks.js';
import { logScale, type Scale, tickLabel } from './scale.js';
import { seriesOf } from './series.js';

/**
 * GFLOP/s of every driver on every layer, a table a network; a bar starts at the lowest decade, so
 * that a gap is a factor. Rates rather than times, since times differ by the layer's size first.
 */
export function bars(data: ReportData): Markup {
  const scale = logScale(
    data.results.map(({ gflops }) => gflops),
    0,
    100,
  );
  const networks = networksOf(data.layers).map((network) => networkTable(network, data, scale));
  return markup`<div class="networks">${networks}</div>`;
}

function networkTable({ title, layers }: Network, data: ReportData, scale: Scale): Markup {
  const { ticks } = scale;
  const labels = ticks.map(
    (tick) => markup`<span style="left:${percent(scale.at(tick))}">${tickLabel(tick)}</span>`,
  );
  const bodies = layers.map((layer) => layerRows(layer, resultsOf(data, layer.name), scale));
  return markup`<table class="bars" style="--decades:${ticks.length - 1}">
<caption>${title}</caption>
<thead><tr><th scope="col">driver</th>
<th scope="col" class="axis" aria-label="GFLOP/s, log scale">${labels}</th>
<th scope="col">ms</th></tr></thead>
${bodies}
</table>`;
}

function layerRows(layer: BenchLayer, results: readonly Result[], scale: Scale): Markup {
  const rows = results.map(({ driver, gflops, msMin }) => {
    const width = percent(scale.at(gflops));
    return markup`<tr><th scope="row">${driver}</th>
<td title="${formatGflops(gflops)} GFLOP/s"><b class="${seriesOf(driver)}" style="width:${width}"></b></td>
<td>${formatMs(msMin)}</td></tr>`;
  });
  return markup`<tbody><tr><th colspan="3" scope="rowgroup">${layer.name}</th></tr>
${rows}</tbody>`;
}

function percent(value: number): string {
  return `${Number(value.toFixed(2))}%`;
}
