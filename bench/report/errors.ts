import type { Result } from '../contest.js';
import { bothWidths, fixed, NARROW, type Plot, svg, xAxis } from './chart.js';
import { type ReportData, resultsOf } from './data.js';
import { type Markup, markup } from './markup.js';
import { networksOf } from './networks.js';
import { logScale, type Scale } from './scale.js';
import { seriesOf } from './series.js';

/** Half a unit in the last place of 1. */
const UNIT_ROUNDOFF = 2 ** -24;

const ROW = 15;

/** The largest error of each driver on each layer, and what Winograd's may be. */
export function errors(data: ReportData): Markup {
  const label = `Largest error of ${data.drivers.length} drivers on ${data.layers.length} layers, relative, log scale`;
  return markup`<figure>
${bothWidths((width) => chart(label, data, width))}
<figcaption>Largest error against double precision among the outputs that are looked at, relative to
Σ|input · filter| + |bias|. Dashed: 2⁻²⁴, half a unit in the last place. A bar ┃ is Winograd’s
documented bound, 50 · 2⁻²⁴ · Σ|w| · max|x| (26 under 5×5 filters); all other algorithms are exact
chains of fused multiply-adds.</figcaption></figure>`;
}

function chart(label: string, data: ReportData, width: number): Markup {
  const isNarrow = width === NARROW;
  const layers = networksOf(data.layers).flatMap((network) => network.layers);
  const height = 34 + layers.length * ROW + 46;
  const left = isNarrow ? 158 : 230;
  const plot: Plot = { width, height, left, right: width - 14, top: 24, bottom: height - 46 };
  const all = data.results.flatMap(({ error, bound }) => [error, bound ?? error]);
  const x = logScale([...all.filter((one) => one > 1e-10), UNIT_ROUNDOFF], left, plot.right);
  const rows = layers.map((layer, i) => {
    const y = plot.top + 10 + i * ROW;
    return markup`<text x="${left - 8}" y="${y}" dy=".35em" text-anchor="end"${isNarrow ? NARROW_TEXT : undefined}>${layer.name}</text>
<path class="grid" d="M${left} ${y}H${plot.right}"/>${marks(resultsOf(data, layer.name), x, y)}`;
  });
  const unit = fixed(x.at(UNIT_ROUNDOFF));
  return svg(label, plot, [
    xAxis(plot, x, 'largest relative error'),
    markup`<path class="ideal" d="M${unit} ${plot.top - 4}V${plot.bottom}"/>
<text class="label" x="${unit}" y="${plot.top - 10}" text-anchor="middle">2⁻²⁴</text>`,
    rows,
  ]);
}

const NARROW_TEXT = markup` class="small"`;

/** Ours last, so that they lie on top; a driver with more threads gives the same bits. */
function marks(results: readonly Result[], x: Scale, y: number): Markup {
  const ours = (result: Result) => result.variant !== undefined;
  const ordered = [...results].sort((a, b) => Number(ours(a)) - Number(ours(b)));
  const bound = results.find((result) => result.bound !== undefined)?.bound;
  const limit =
    bound === undefined
      ? undefined
      : markup`<path class="bound" d="M${fixed(x.at(bound))} ${y - 5}v10"><title>bound ${bound.toExponential(1)}</title></path>`;
  const dots = ordered.map(
    ({ driver, layer, error }) =>
      markup`<circle class="point ${seriesOf(driver)}" cx="${fixed(x.at(error))}" cy="${y}" r="4"><title>${layer}, ${driver}: ${error.toExponential(1)}</title></circle>`,
  );
  return markup`${limit}${dots}`;
}
