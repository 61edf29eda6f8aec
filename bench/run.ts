import { writeFileSync } from 'node:fs';
import { compare, headerLine, type Row, rowLine, verdictLines } from './algorithms.js';
import { calibrate } from './calibration.js';
import type { Effort } from './clock.js';
import { detailLines, Grid, geomeanLines, machineLines } from './console.js';
import { contest, type Result } from './contest.js';
import type { Driver } from './drivers/driver.js';
import { im2colDriver } from './drivers/im2col.js';
import { naiveDriver } from './drivers/naive.js';
import { nativeDriver } from './drivers/native.js';
import { onnxruntimeDriver } from './drivers/onnxruntime.js';
import { tfjsWasmDriver } from './drivers/tfjs-wasm.js';
import { freshHeader, freshLine } from './fresh.js';
import { setIsa } from './internals.js';
import { ladderHeader, ladderLines } from './ladder.js';
import { type BenchLayer, SEED } from './layers.js';
import { describeMachine, type Machine, probeRoofs } from './machine.js';
import { helpFor, type Options, type Program, readOptions } from './options.js';
import {
  type Prediction,
  predict,
  predictionHeader,
  predictionLine,
  predictionSummary,
} from './predictions.js';
import { Progress } from './progress.js';
import { page } from './report/page.js';
import { scalingLayers, threadCounts } from './report/scaling.js';

interface Pace {
  readonly effort: Effort;
  /** Where JavaScript, and WebAssembly, stop being worth the wait, in multiply-accumulates. */
  readonly jsMaxMacs: number;
  readonly wasmMaxMacs: number;
}

const FULL: Pace = {
  effort: { budgetMs: 500, minSamples: 3, maxSamples: 40 },
  jsMaxMacs: 130e6,
  wasmMaxMacs: Number.POSITIVE_INFINITY,
};
const THOROUGH: Effort = { budgetMs: 150, minSamples: 5, maxSamples: 40 };
const HASTY: Effort = { budgetMs: 40, minSamples: 3, maxSamples: 10 };
const QUICK: Pace = {
  effort: { budgetMs: 60, minSamples: 3, maxSamples: 10 },
  jsMaxMacs: 5e6,
  wasmMaxMacs: 130e6,
};

/** Every algorithm against the one chosen, layer by layer, and a verdict. */
async function runAlgorithms(options: Options): Promise<void> {
  const machine = describeMachine();
  const progress = new Progress(options.layers.length);
  const print = (lines: readonly string[]) => progress.print(lines.join('\n'));
  const rows: Row[] = [];
  print([
    ...machineLines(machine, []),
    `${options.threads} thread${options.threads === 1 ? '' : 's'}`,
    '',
    headerLine(),
  ]);
  for (const layer of options.layers) {
    progress.step(layer.name);
    const both = await compare(layer, options.threads, options.quick ? HASTY : THOROUGH);
    rows.push(...both);
    print(both.map(rowLine));
  }
  print(['', ...verdictLines(rows)]);
  if (options.json !== undefined) {
    const plain = rows.map((row) => ({ ...row, ms: Object.fromEntries(row.ms) }));
    writeJson(options.json, machine, { threads: options.threads, rows: plain });
  }
}

/** Layer by layer, the cost of memory that nobody has used yet. */
async function runFresh(options: Options): Promise<void> {
  const progress = new Progress(options.layers.length);
  progress.print(`${machineLines(describeMachine(), []).join('\n')}\n\n${freshHeader()}`);
  for (const layer of options.layers) {
    progress.step(layer.name);
    const effort = options.quick ? HASTY : THOROUGH;
    progress.print(await freshLine(layer, options.threads, effort));
  }
}

/** One layer from plain JavaScript to all that the library does, one idea at a time. */
async function runLadder(options: Options): Promise<void> {
  const machine = describeMachine();
  const progress = new Progress(options.layers.length);
  progress.print(machineLines(machine, []).join('\n'));
  const { effort } = options.quick ? QUICK : FULL;
  for (const layer of options.layers) {
    progress.step(layer.name);
    const lines = await ladderLines(layer, options.threads, effort, machine.peakGflops);
    progress.print(['', layer.name, ladderHeader(), ...lines].join('\n'));
  }
}

/** The seed table, or that of a lone layer; the grid of all others; then how far ahead we are. */
async function runDrivers(options: Options): Promise<void> {
  const { effort, jsMaxMacs, wasmMaxMacs } = options.quick ? QUICK : FULL;
  const machine = describeMachine();
  const { peakGflops } = machine;
  const best = `native ${options.threads}t`;
  const scaled = options.report === undefined ? [] : scalingLayers(options.layers);
  const progress = new Progress(scaled.length + options.layers.length);
  const scaling = await measureScaling(scaled, options.threads, effort, progress);
  const drivers = await makeDrivers(options.threads, jsMaxMacs, wasmMaxMacs);
  const names = drivers.map(({ name }) => name);
  const grid = new Grid(names, best, peakGflops);
  const results: Result[] = [];
  const print = (lines: readonly string[]) => progress.print(lines.join('\n'));

  print(machineLines(machine, drivers));
  let hasHeader = false;
  for (const layer of options.layers) {
    progress.step(layer.name);
    const row = await contest(layer, drivers, effort);
    results.push(...row);
    if (layer === SEED || options.layers.length === 1) {
      print(['', layer.name, ...detailLines(row, peakGflops)]);
      continue;
    }
    if (!hasHeader) print(['', grid.header()]);
    hasHeader = true;
    print([grid.row(layer.name, row)]);
  }
  print(['', ...geomeanLines(results, best)]);
  // Threads that a peer leaves spinning take cores from ours: one thread is the fair comparison.
  const ofOneThread = results.filter(({ driver }) => driver !== best);
  const lines = geomeanLines(ofOneThread, 'native 1t');
  if (options.threads > 1 && lines.length > 0) print(['', ...lines]);
  const peers = [...new Set(drivers.flatMap(({ version }) => version ?? []))];
  if (options.json !== undefined) writeJson(options.json, machine, { peers, results, scaling });
  if (options.report !== undefined) {
    const { layers, threads, command } = options;
    const date = new Date().toISOString();
    const roofs = probeRoofs(threads);
    const facts = { date, command, machine, peers, layers, threads, results, scaling, roofs };
    writeFileSync(options.report, page({ ...facts, drivers: names }));
    print(['', `Report: ${options.report}`]);
  }
}

/** This library alone, before any peer is loaded and has threads of its own. */
async function measureScaling(
  layers: readonly BenchLayer[],
  threads: number,
  effort: Effort,
  progress: Progress,
): Promise<Result[]> {
  const drivers = threadCounts(threads).map((count) => nativeDriver(count));
  const results: Result[] = [];
  for (const layer of layers) {
    progress.step(`${layer.name}, threads`);
    results.push(...(await contest(layer, drivers, effort)));
  }
  return results;
}

async function makeDrivers(
  threads: number,
  jsMaxMacs: number,
  wasmMaxMacs: number,
): Promise<Driver[]> {
  const counts = threads === 1 ? [1] : [1, threads];
  const drivers = [
    naiveDriver(jsMaxMacs),
    im2colDriver(jsMaxMacs),
    ...counts.map((count) => nativeDriver(count)),
    ...counts.map((count) => onnxruntimeDriver(count)),
    await tfjsWasmDriver(wasmMaxMacs),
  ];
  return drivers.filter((driver) => driver !== undefined);
}

function writeJson(file: string, machine: Machine, content: object): void {
  const date = new Date().toISOString();
  writeFileSync(file, `${JSON.stringify({ date, machine, ...content }, null, 2)}\n`);
}

/** Layer by layer, what the cost model expects and what comes; then how far off it is. */
async function runPredictions(options: Options): Promise<void> {
  const machine = describeMachine();
  const progress = new Progress(options.layers.length);
  const calibration = await calibrate();
  const clock = (calibration.cyclesPerMs / 1e6).toFixed(2);
  progress.print(machineLines(machine, []).join('\n'));
  progress.print(
    `model calibrated: ${clock} cycles a ns, ${(1000 * calibration.callMs).toFixed(2)} µs a call\n`,
  );
  progress.print(predictionHeader());
  const predictions: Prediction[] = [];
  for (const layer of options.layers) {
    progress.step(layer.name);
    const effort = options.quick ? HASTY : THOROUGH;
    const prediction = await predict(layer, options.threads, effort, calibration);
    predictions.push(prediction);
    progress.print(predictionLine(prediction));
  }
  progress.print(['', ...predictionSummary(predictions)].join('\n'));
  if (options.json !== undefined) {
    writeJson(options.json, machine, { threads: options.threads, calibration, predictions });
  }
}

const RUNS = {
  drivers: runDrivers,
  algorithms: runAlgorithms,
  fresh: runFresh,
  ladder: runLadder,
  predictions: runPredictions,
} as const;

/** @throws UsageError, WrongAnswer */
export async function runBench(args: readonly string[], program: Program): Promise<void> {
  const options = readOptions(args, program);
  if (options === undefined) return console.log(helpFor(program));
  if (options.isa !== undefined) setIsa(options.isa);
  await RUNS[options.subject](options);
}
