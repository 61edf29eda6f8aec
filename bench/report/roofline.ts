import type { Result } from '../contest.js';
import { formatGflops, formatMs } from '../format.js';
import { type BenchLayer, bytesOf, macsOf } from '../layers.js';
import type { Roof } from '../machine.js';
import { bothWidths, fixed, Labels, NARROW, type Plot, svg, xAxis, yAxis } from './chart.js';
import type { ReportData } from './data.js';
import { type Markup, markup } from './markup.js';
import { logScale, type Scale, STEPS } from './scale.js';
import { ownDrivers } from './series.js';

/** A layer at what it does with each byte, and how fast. */
interface Dot {
  readonly layer: string;
  readonly intensity: number;
  readonly result: Result;
  /** Of the lower of the two roofs over it. */
  readonly share: number;
}

/** FLOP a byte that must move: input, filter, bias and output, each once. */
export function intensityOf(layer: BenchLayer): number {
  return (2 * macsOf(layer)) / bytesOf(layer);
}

/** One plot for each number of threads of which the roofs are known. */
export function rooflines(data: ReportData): Markup {
  const plots = data.roofs.map((roof) => {
    const driver = ownDrivers(data.drivers).find((name) => name === `native ${roof.threads}t`);
    if (driver === undefined) return undefined;
    const dots = dotsOf(data, driver, roof);
    const on = roof.threads === 1 ? 'One thread' : `${roof.threads} threads`;
    const label = `Roofline on ${on.toLowerCase()}: GFLOP/s against FLOP a byte of ${dots.length} layers, log scales`;
    return markup`<figure><figcaption>${on}: ${roofText(roof)}</figcaption>
${bothWidths((width) => roofline(label, roof, dots, width))}</figure>`;
  });
  return markup`${plots}${SHAPES}`;
}

function roofText({ gflops, gbytes }: Roof): string {
  const levels = Object.entries(gbytes).map(
    ([level, rate]) => `${named(level)} ${rate.toFixed(0)}`,
  );
  return `${gflops.toFixed(1)} GFLOP/s of FMAs; ${levels.join(', ')} GB/s.`;
}

function named(level: string): string {
  return level === 'memory' ? level : level.toUpperCase();
}

function dotsOf({ layers, results }: ReportData, driver: string, roof: Roof): readonly Dot[] {
  const memory = roof.gbytes.memory ?? Number.POSITIVE_INFINITY;
  return layers.flatMap((layer) => {
    const result = results.find((one) => one.layer === layer.name && one.driver === driver);
    if (result === undefined) return [];
    const intensity = intensityOf(layer);
    const share = result.gflops / Math.min(roof.gflops, memory * intensity);
    return [{ layer: layer.name, intensity, result, share }];
  });
}

const SLOWEST_NAMED = 6;
const FASTEST_NAMED = 4;

function roofline(label: string, roof: Roof, dots: readonly Dot[], width: number): Markup {
  const isNarrow = width === NARROW;
  const height = isNarrow ? 400 : 500;
  const plot = { width, height, left: 42, right: width - 12, top: 30, bottom: height - 46 };
  const x = logScale(
    dots.map(({ intensity }) => intensity),
    plot.left,
    plot.right,
    STEPS,
  );
  const y = logScale(
    [roof.gflops, ...dots.map(({ result }) => result.gflops)],
    plot.bottom,
    plot.top,
    STEPS,
  );
  const points = dots.map(
    ({ intensity, result }) => [x.at(intensity), y.at(result.gflops)] as const,
  );
  const labels = new Labels(plot, points);
  const roofs = roofLines(roof, plot, x, y, labels);
  const marks = dots.map(({ layer, result, share }, i) => {
    const [cx, cy] = points[i] as readonly [number, number];
    const told = `${layer}: ${formatMs(result.msMin)} ms, ${formatGflops(result.gflops)} GFLOP/s`;
    const how = `${result.variant ?? 'unknown algorithm'}, ${(100 * share).toFixed(0)} % of the roof`;
    return markup`<path class="dot ${shapeOf(result)}" d="${outline(shapeOf(result), cx, cy)}"><title>${told}; ${how}</title></path>`;
  });
  const sorted = dots.map((dot, i) => ({ dot, i })).sort((a, b) => a.dot.share - b.dot.share);
  const most = isNarrow ? [3, 2] : [SLOWEST_NAMED, FASTEST_NAMED];
  const notable = [...sorted.slice(0, most[0]), ...sorted.slice(most[0]).slice(-(most[1] ?? 0))];
  const names = notable.map(({ dot, i }) => {
    const [cx, cy] = points[i] as readonly [number, number];
    return labels.at(cx, cy, dot.layer);
  });
  return svg(label, plot, [
    xAxis(plot, x, 'FLOP a byte'),
    yAxis(plot, y, 'GFLOP/s'),
    ...[roofs, ...marks, ...names],
  ]);
}

/** The flat roof, and a slope for each level of memory as far as it lies under that. */
function roofLines(roof: Roof, plot: Plot, x: Scale, y: Scale, labels: Labels): Markup {
  const least = x.ticks[0] as number;
  const most = x.ticks[x.ticks.length - 1] as number;
  const lowest = y.ticks[0] as number;
  const flat = y.at(roof.gflops);
  const text = `FMA peak ${roof.gflops.toFixed(0)}`;
  labels.block(plot.left, plot.left + 90, flat - 18, flat - 2);
  const slopes = Object.entries(roof.gbytes).map(([level, rate], i) => {
    const ridge = roof.gflops / rate;
    const from = Math.max(least, lowest / rate);
    if (ridge <= from) return undefined;
    const to = Math.min(most, ridge);
    const [x0, y0, x1, y1] = [x.at(from), y.at(from * rate), x.at(to), y.at(to * rate)];
    const along = (share: number) => [x0 + share * (x1 - x0), y0 + share * (y1 - y0)] as const;
    for (let share = 0; share <= 1; share += 0.05) {
      const [bx, by] = along(share);
      labels.block(bx - 6, bx + 6, by - 12, by + 8);
    }
    const angle = (Math.atan2(y1 - y0, x1 - x0) * 180) / Math.PI;
    const [tx, ty] = along(0.12);
    // Of L2 and L3, often neighbours, one is named above, one below.
    const dy = i % 3 === 2 ? 13 : -4;
    return markup`<path class="roof" d="M${fixed(x0)} ${fixed(y0)}L${fixed(x1)} ${fixed(y1)}"/>
<text class="roofname" transform="translate(${fixed(tx)} ${fixed(ty)}) rotate(${fixed(angle)})" dy="${dy}">${named(level)}</text>`;
  });
  return markup`<path class="roof" d="M${plot.left} ${fixed(flat)}H${plot.right}"/>
<text class="roofname" x="${plot.left + 4}" y="${fixed(flat - 6)}">${text}</text>${slopes}`;
}

const ALGORITHMS = ['direct', 'gemm', 'depthwise', 'winograd'] as const;
type Shape = (typeof ALGORITHMS)[number];

function shapeOf({ variant = '' }: Result): Shape {
  return ALGORITHMS.find((name) => variant.startsWith(name)) ?? 'direct';
}

function outline(shape: Shape, x: number, y: number): string {
  const [cx, cy] = [fixed(x), fixed(y)];
  if (shape === 'gemm') return `M${fixed(x - 4)} ${fixed(y - 4)}h8v8h-8z`;
  if (shape === 'winograd') return `M${cx} ${fixed(y - 5.5)}l5.5 5.5l-5.5 5.5l-5.5 -5.5z`;
  if (shape === 'depthwise') return `M${cx} ${fixed(y - 5)}l5 9h-10z`;
  return `M${fixed(x - 4.4)} ${cy}a4.4 4.4 0 1 0 8.8 0a4.4 4.4 0 1 0 -8.8 0z`;
}

const SHAPES = markup`<ul class="legend">${ALGORITHMS.map(
  (name) =>
    markup`<li><svg class="shape" viewBox="0 0 14 14" aria-hidden="true"><path class="dot ${name}" d="${outline(name, 7, 7)}"/></svg>${name}</li>`,
)}</ul>`;
