/** Of paper, too. */
const LIGHT = `--ground: #fcfcfa; --card: #ffffff; --ink: #1b1e23; --quiet: #5b626d; --line: #e2e3e0;
  --naive: #8b8f96; --columns: #b57a00; --native: #2f8fcf; --native-all: #005b96;
  --ort: #d95f02; --ort-all: #9a3d00; --tfjs: #00856a; --other: #8a4b8f;`;

/** Colours of Okabe and Ito, darkened on light ground and lightened on dark for contrast. */
export const STYLE = `
:root {
  color-scheme: light dark;
  ${LIGHT}
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --card: #1b1e24; --ink: #e8e9eb; --quiet: #a3aab5; --line: #30343c;
    --naive: #868c96; --columns: #d9a02c; --native: #4ba3e3; --native-all: #a5d4ff;
    --ort: #f08038; --ort-all: #ffbe94; --tfjs: #2dbb98; --other: #cf96d3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif;
}
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1 { margin: 0; font-size: clamp(1.8rem, 6vw, 2.6rem); line-height: 1.1; letter-spacing: -.025em; }
h2 { margin: 0 0 .35rem; font-size: 1.4rem; line-height: 1.2; letter-spacing: -.015em; }
h1, h2 { text-wrap: balance; }
section { margin-top: 3.5rem; }
p { margin: .4rem 0 1rem; max-width: 42rem; }
p, figcaption, .machine { text-wrap: pretty; }
.machine, figcaption, footer { color: var(--quiet); font-size: .9rem; }
.machine { margin: .6rem 0 0; max-width: none; }
a { color: inherit; text-decoration-color: var(--native); text-underline-offset: .18em; }
nav { margin-top: 1.4rem; font-size: .9rem; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .86em; }
pre { margin: .5rem 0; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); font-size: .9rem; padding-bottom: .5rem; }
th { text-align: left; font-weight: 500; }
td, thead th { text-align: right; white-space: nowrap; }
thead th:first-child { text-align: left; }
thead th { color: var(--quiet); font-weight: 400; font-size: .84rem; }
.scroll { overflow-x: auto; }
.drivers th, .drivers td { padding: .42rem .55rem; border-bottom: 1px solid var(--line); }
.drivers th:first-child { padding-left: 0; white-space: nowrap; }
.drivers td:last-child, .drivers th:last-child { padding-right: 0; }
i { display: inline-block; width: .72em; height: .72em; margin-right: .55em; border-radius: .18em; background: var(--other); }
b { display: block; height: .56rem; border-radius: 0 .14rem .14rem 0; background: var(--other); }
.lead { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: .9rem; margin: 1.6rem 0 0; padding: 0; list-style: none; }
.lead li { padding-top: .55rem; border-top: 3px solid var(--other); font-size: .86rem; line-height: 1.35; color: var(--quiet); }
.lead strong { display: block; color: var(--ink); font-size: 1.7rem; font-weight: 600; line-height: 1.2; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.naive { --c: var(--naive); } .columns { --c: var(--columns); } .native { --c: var(--native); }
.native-all { --c: var(--native-all); } .ort { --c: var(--ort); } .ort-all { --c: var(--ort-all); }
.tfjs { --c: var(--tfjs); }
i, b { background: var(--c, var(--other)); }
.lead li { border-top-color: var(--c, var(--line)); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .2rem 0 1.2rem; padding: 0; list-style: none; font-size: .86rem; color: var(--quiet); }
.legend li { display: flex; align-items: center; }
.shape { width: .9rem; height: .9rem; margin-right: .4rem; overflow: visible; }
.networks { columns: 24rem 2; column-gap: 3rem; }
.bars { break-inside: avoid; margin-bottom: 1.8rem; font-size: .78rem; line-height: 1.2; table-layout: fixed; }
.bars caption { color: var(--ink); font-size: 1rem; font-weight: 600; break-after: avoid; }
.bars tbody { break-inside: avoid; }
.bars tbody th { color: var(--quiet); font-weight: 400; white-space: nowrap; padding: 1px .5rem 1px 0; }
.bars tbody th[scope=rowgroup] { color: var(--ink); font-weight: 500; padding: .65rem 0 .15rem; }
.bars thead th:first-child { width: 7.7rem; } .bars thead th:last-child { width: 4.1rem; }
.bars thead th { font-size: .72rem; }
.bars thead .axis { position: relative; height: 1.1rem; text-align: left; }
.axis span { position: absolute; bottom: 0; transform: translateX(-50%); }
.bars tbody td:nth-child(2) {
  padding: 0; vertical-align: middle; border-right: 1px solid var(--line);
  background: repeating-linear-gradient(to right, var(--line) 0 1px, transparent 1px calc(100% / var(--decades)));
}
figure { margin: 1.2rem 0 1.6rem; }
figcaption { max-width: 48rem; margin-bottom: .4rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
svg .label, svg .roofname { font-size: 11.5px; fill: var(--ink); paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; } svg .small { font-size: 10px; }
.grid { stroke: var(--line); stroke-width: 1; fill: none; }
.roof { stroke: var(--ink); stroke-width: 1.6; fill: none; }
.dot { fill: var(--native-all); fill-opacity: .8; stroke: var(--ground); stroke-width: .8; }
.dot.winograd { fill: var(--ort); } .dot.depthwise { fill: var(--tfjs); } .dot.gemm { fill: var(--columns); }
.dot:hover, .point:hover { stroke: var(--ink); stroke-width: 1.8; }
.point { fill: var(--c, var(--other)); fill-opacity: .85; stroke: var(--ground); stroke-width: .7; }
.line { stroke: var(--native-all); stroke-width: 1.4; stroke-opacity: .7; fill: none; }
.ideal { stroke: var(--quiet); stroke-dasharray: 5 4; stroke-width: 1.2; fill: none; }
svg text.ideal { stroke: var(--ground); stroke-dasharray: none; fill: var(--quiet); }
.leader { stroke: var(--quiet); stroke-width: .8; fill: none; }
.bound { stroke: var(--ink); stroke-width: 2.2; fill: none; }
.narrow { display: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: 1rem 0; font-size: .92rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
footer { padding-bottom: 4rem; }
@media (max-width: 40rem) {
  .wide { display: none; } .narrow { display: block; }
  .second { display: none; }
  header { padding-top: 1.8rem; }
  main, header, footer { padding-inline: 1rem; }
  section { margin-top: 2.6rem; }
  .drivers { font-size: .74rem; } .drivers th, .drivers td { padding: .4rem .2rem; }
  .drivers thead th { font-size: .7rem; white-space: normal; }
  .drivers th:first-child { white-space: normal; line-height: 1.3; padding-left: 1.15rem; text-indent: -1.15rem; }
  .lead { grid-template-columns: 1fr 1fr; }
  .bars { font-size: .74rem; } .bars thead th:first-child { width: 7.4rem; }
}
@media print {
  :root {
    color-scheme: light;
${LIGHT}
    --ground: #fff; --ink: #000; --quiet: #444; --line: #ccc;
  }
  @page { margin: 16mm 14mm; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10pt; }
  main, header, footer { max-width: none; padding: 0; }
  nav { display: none; }
  header { padding-top: 0; }
  section { margin-top: 1.6rem; }
  h2, caption, figcaption { break-after: avoid; }
  figcaption { break-inside: avoid; }
  figure, .drivers, .lead, .legend, .long { break-inside: avoid; }
  #again { display: inline-block; width: 100%; } /* else Chromium leaves its heading behind */
  figure svg { max-height: 94mm; } .long svg { max-height: 190mm; }
  .lead { grid-template-columns: repeat(auto-fit, minmax(7.4rem, 1fr)); }
  .networks { columns: 2; column-gap: 1.6rem; }
  .bars { break-inside: auto; font-size: .7rem; } .bars thead { break-after: avoid; } .bars tbody:first-of-type { break-before: avoid; } .bars thead th { font-size: .62rem; }
  .wide { display: block; } .narrow { display: none; } .second { display: revert; }
}
`;
