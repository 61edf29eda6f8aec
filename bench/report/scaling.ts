import type { Result } from '../contest.js';
import { formatMs, formatTimes } from '../format.js';
import type { BenchLayer } from '../layers.js';
import { bothWidths, fixed, NARROW, type Plot, svg, xAxis, yAxis } from './chart.js';
import { type Markup, markup } from './markup.js';
import { linearScale, type Scale } from './scale.js';

/** One of a kind each. */
const LAYERS = [
  'seed_3x3_3-16@32',
  'r50_7x7s2_3-64@224',
  'r50_3x3_64-64@56',
  'r50_1x1_256-64@56',
  'vgg_3x3_256-256@56',
  'mbv2_dw3x3_144@56',
  'mbv2_1x1_24-144@56',
  'n8_r50_3x3_256-256@14',
];

/** Those whose scaling is measured: some that are known for what they show, else the first few. */
export function scalingLayers(layers: readonly BenchLayer[]): readonly BenchLayer[] {
  const known = layers.filter(({ name }) => LAYERS.includes(name));
  return known.length > 0 ? known : layers.slice(0, LAYERS.length);
}

/** All numbers of threads up to eight, then powers of two, and the last. */
export function threadCounts(most: number): readonly number[] {
  const all = Array.from({ length: most }, (_, i) => i + 1);
  return all.filter((n) => n <= 8 || Number.isInteger(Math.log2(n)) || n === most);
}

interface Line {
  readonly layer: string;
  readonly points: readonly {
    readonly threads: number;
    readonly ms: number;
    readonly times: number;
  }[];
}

export function scaling(results: readonly Result[]): Markup {
  const lines = linesOf(results);
  const most = Math.max(...results.map(({ threads }) => threads));
  const label = `How many times as fast on 1 to ${most} threads as on one: ${lines.length} layers and the ideal`;
  return markup`<figure><figcaption>Times as fast as on one thread.</figcaption>
${bothWidths((width) => chart(label, lines, most, width))}</figure>${table(lines)}`;
}

function linesOf(results: readonly Result[]): readonly Line[] {
  const layers = [...new Set(results.map(({ layer }) => layer))];
  return layers.map((layer) => {
    const own = results.filter((result) => result.layer === layer);
    const alone = own.find(({ threads }) => threads === 1)?.msMin ?? Number.NaN;
    const points = own.map(({ threads, msMin }) => ({ threads, ms: msMin, times: alone / msMin }));
    return { layer, points };
  });
}

const LABEL_HEIGHT = 15;

function chart(label: string, lines: readonly Line[], most: number, width: number): Markup {
  const isNarrow = width === NARROW;
  const height = isNarrow ? 330 : 400;
  const right = width - (isNarrow ? 168 : 210);
  const plot: Plot = { width, height, left: 42, right, top: 30, bottom: height - 46 };
  const highest = Math.max(
    most,
    ...lines.flatMap(({ points }) => points.map(({ times }) => times)),
  );
  const x = linearScale(1, most, plot.left, plot.right);
  const y = linearScale(0, Math.ceil(highest), plot.bottom, plot.top);
  const ends = lines.map(({ layer, points }) => ({
    layer,
    y: y.at(points[points.length - 1]?.times ?? 1),
  }));
  const paths = lines.map(({ layer, points }) => {
    const path = points.map(
      ({ threads, times }) => `${fixed(x.at(threads))} ${fixed(y.at(times))}`,
    );
    const dots = points.map(
      ({ threads, ms, times }) =>
        markup`<circle class="dot" cx="${fixed(x.at(threads))}" cy="${fixed(y.at(times))}" r="3.5"><title>${layer}, ${threads} threads: ${formatMs(ms)} ms, ${formatTimes(times)}</title></circle>`,
    );
    return markup`<path class="line" d="M${path.join('L')}"/>${dots}`;
  });
  return svg(label, plot, [
    xAxis(plot, sparse(x, isNarrow ? 8 : 16), 'threads'),
    yAxis(plot, sparse(y, 10), 'times as fast'),
    markup`<path class="ideal" d="M${x.at(1)} ${y.at(1)}L${x.at(most)} ${fixed(y.at(most))}"/>`,
    ...[paths, endLabels(ends, plot, most > 1 ? { layer: 'ideal', y: y.at(most) } : undefined)],
  ]);
}

/** At most so many ticks. */
function sparse(scale: Scale, most: number): Scale {
  const step = Math.ceil(scale.ticks.length / most);
  return { ...scale, ticks: scale.ticks.filter((_, i) => i % step === 0) };
}

interface End {
  readonly layer: string;
  readonly y: number;
}

/** Names at the right, moved apart where lines end side by side. */
function endLabels(ends: readonly End[], plot: Plot, ideal: End | undefined): Markup {
  const sorted = [...ends, ...(ideal === undefined ? [] : [ideal])].sort((a, b) => a.y - b.y);
  const places = sorted.map(({ y }) => y);
  // Down from the top, then up from the bottom.
  places.forEach((y, i) => {
    places[i] = Math.max(y, (places[i - 1] ?? plot.top - LABEL_HEIGHT) + LABEL_HEIGHT);
  });
  for (let i = places.length - 1; i >= 0; i--) {
    const most = (places[i + 1] ?? plot.bottom + LABEL_HEIGHT) - LABEL_HEIGHT;
    places[i] = Math.min(places[i] as number, most);
  }
  const { right } = plot;
  const labels = sorted.map(({ layer, y }, i) => {
    const at = fixed(places[i] as number);
    const style = `label${layer === 'ideal' ? ' ideal' : ''}`;
    return markup`<path class="leader" d="M${right + 5} ${fixed(y)}L${right + 14} ${at}"/>
<text class="${style}" x="${right + 18}" y="${at}" dy=".35em">${layer}</text>`;
  });
  return markup`${labels}`;
}

function table(lines: readonly Line[]): Markup {
  const counts = lines[0]?.points.map(({ threads }) => threads) ?? [];
  const rows = lines.map(({ layer, points }) => {
    const cells = points.map(({ ms }) => markup`<td>${formatMs(ms)}</td>`);
    const last = points[points.length - 1]?.times ?? 1;
    return markup`<tr><th scope="row">${layer}</th>${cells}<td>${formatTimes(last)}</td></tr>`;
  });
  return markup`<div class="scroll"><table class="drivers"><caption>ms a call by threads</caption>
<thead><tr><th scope="col">layer</th>${counts.map((n) => markup`<th scope="col">${n}</th>`)}
<th scope="col">faster</th></tr></thead><tbody>${rows}</tbody></table></div>`;
}
