import { formatTimes } from '../format.js';
import { leads } from '../leads.js';
import type { Machine } from '../machine.js';
import { bars } from './bars.js';
import { type ReportData, resultsOf } from './data.js';
import { errors } from './errors.js';
import { type Content, Markup, markup } from './markup.js';
import { rooflines } from './roofline.js';
import { scaling } from './scaling.js';
import { legend, meaningOf, ownDrivers, seriesOf } from './series.js';
import { STYLE } from './style.js';
import { driverTable } from './table.js';

/** A page that needs nothing but itself. */
export function page(data: ReportData): string {
  const { machine, layers, drivers, results } = data;
  const [first] = layers;
  const sections = [
    first &&
      section('table', 'One layer', TABLE, [
        driverTable(first, resultsOf(data, first.name), machine.peakGflops),
      ]),
    section('layers', 'Layer by layer', LAYERS, [legend(drivers), bars(data)]),
    data.roofs.length > 0 && section('roofline', 'Roofline', ROOFLINE, rooflines(data)),
    data.scaling.length > 0 && section('threads', 'Threads', THREADS, scaling(data.scaling)),
    section('error', 'Error', ERROR, [legend(drivers), errors(data)], 'long'),
    section('again', 'Measure it yourself', '', reproduction(data)),
  ].filter((one) => one instanceof Section);
  const links = sections.map(({ id, title }) => markup`<a href="#${id}">${title}</a> `);
  const lead = leads(results, ownBest(data))
    .filter(({ driver }) => !ownDrivers(drivers).includes(driver))
    .map(
      ({ driver, times, layers }) =>
        markup`<li class="${seriesOf(driver)}"><strong>${formatTimes(times)}</strong> as fast as ${meaningOf(driver)} (${layers} layer${layers === 1 ? '' : 's'})</li>`,
    );
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gemmconv ${machine.gemmconv} on ${machine.cpu}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
<h1>gemmconv, measured</h1>
<p class="machine">${machineLine(machine)}</p>
<ul class="lead">${lead}</ul>
<p class="machine">${meaningOf(ownBest(data))}, against each: geometric means over the layers that both did.</p>
<nav aria-label="Sections">${links}</nav>
</header>
<main>
${sections.map((one) => one.content)}
</main>
<footer><p>Measured on <time datetime="${data.date}">${data.date.slice(0, 10)}</time>.</p></footer>
</body>
</html>
`.text;
}

class Section {
  readonly id: string;
  readonly title: string;
  readonly content: Markup;

  constructor(id: string, title: string, content: Markup) {
    this.id = id;
    this.title = title;
    this.content = content;
  }
}

function section(
  id: string,
  title: string,
  text: string,
  content: Content,
  style?: string,
): Section {
  const paragraph = text === '' ? undefined : markup`<p>${text}</p>`;
  const html = markup`<section id="${id}"${style === undefined ? undefined : markup` class="${style}"`}>
<h2>${title}</h2>
${paragraph}
${content}
</section>
`;
  return new Section(id, title, html);
}

/** Threads that a peer leaves spinning take cores from ours: one thread is the fair comparison. */
function ownBest({ drivers, threads }: ReportData): string {
  return drivers.includes('native 1t') ? 'native 1t' : `native ${threads}t`;
}

function machineLine({
  cpu,
  cores,
  memoryBytes,
  platform,
  isa,
  peakGflops,
  node,
}: Machine): string {
  const peak = peakGflops === undefined ? '' : `, FMA peak ${peakGflops.toFixed(1)} GFLOP/s a core`;
  const memory = `${(memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  return `${cpu}, ${cores} cores, ${memory}, ${platform}; ${isa}${peak}; Node ${node}`;
}

function reproduction({ command, date, machine, peers }: ReportData): Markup {
  const facts = {
    measured: date,
    gemmconv: machine.gemmconv,
    Node: machine.node,
    peers: peers.join(', ') || 'none installed',
    machine: `${machine.cpu}, ${machine.cores} cores, ${machine.platform}`,
    'instruction set': machine.isa,
  };
  const entries = Object.entries(facts).map(
    ([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>`,
  );
  return markup`<pre>${command}</pre><dl>${entries}</dl>`;
}

const TABLE = `The fastest sample a call; the median tells what else the machine did. 2 operations a
multiply-add, padded taps counted. % of peak: of what the driver’s threads could do if they did
nothing but FMAs. Every answer was checked before the clock started.`;
const LAYERS = `GFLOP/s on a log scale: each line is ten times the one before it, and further right is
faster. The time of one call is at the end. Where a driver is missing it cannot do the layer, or would
take too long.`;
const ROOFLINE = `How much a layer computes on each byte that must move (input, filter, bias and output,
once each) decides which roof is over it: the slopes are bandwidths measured with a triad, the flat one
is the peak of multiply-adds in registers. Winograd passes it, since it multiplies less than it is
credited for; data that stays in cache from call to call passes the slope of main memory.`;
const THREADS = `This library alone, no peer’s threads beside it. Dashed: as many times as fast as there
are threads.`;
const ERROR = `What is lost to float32, layer by layer. The same bits on more threads lie on top of those
on one.`;
