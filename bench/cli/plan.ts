import { type Conv2dPlan, setThreads } from 'gemmconv';
import { type Calibration, calibrate, predictedMs } from '../calibration.js';
import { contest } from '../contest.js';
import { layerIn, nativeDriver } from '../drivers/native.js';
import { formatBytes, formatGflops, formatMs } from '../format.js';
import { type BenchLayer, bytesOf, macsOf } from '../layers.js';
import { GRAMMAR, type Notation, parseNotation } from '../notation.js';
import { EXAMPLE, parseCommandLine, UsageError } from '../usage.js';

const HELP = `Usage: npx gemmconv plan [options] "3x224x224 -> 64 k7 s2 p3"

Tells how a layer would be computed, and how long one call should take: the cost model of the plan,
in time by what a steady layer takes on this machine now. It knows of caches, not of what else the
machine does nor of main memory; gemmconv bench --predictions shows how far off it is.

  --measure   times the layer as well, on random numbers, once some of its outputs have been
              compared with a reference in double precision
  --json      the same as one object of JSON
  --help      print this

${GRAMMAR}`;

const EFFORT = { budgetMs: 500, minSamples: 5, maxSamples: 60 };

export async function run(args: readonly string[]): Promise<void> {
  const options = {
    json: { type: 'boolean' },
    measure: { type: 'boolean' },
    help: { type: 'boolean' },
  } as const;
  const command = { args: [...args], options, allowPositionals: true } as const;
  const { values, positionals } = parseCommandLine(command);
  if (values.help) return console.log(HELP);
  const text = positionals.join(' ');
  if (text === '') throw new UsageError(`plan takes a layer, ${EXAMPLE}`);
  const facts = await tell(parseNotation(text), values.measure ?? false);
  console.log(values.json ? JSON.stringify(facts, null, 2) : lines(facts).join('\n'));
}

interface Facts {
  readonly layer: BenchLayer;
  readonly layout: string;
  /** In the layout. */
  readonly outputShape: readonly number[];
  readonly macs: number;
  /** Input, filter, bias and output, each once. */
  readonly tensorBytes: number;
  readonly plan: Conv2dPlan;
  readonly calibration: Calibration;
  readonly predictedMs: number;
  readonly measured?: { readonly msMin: number; readonly msMedian: number; readonly error: number };
}

async function tell(notation: Notation, isMeasured: boolean): Promise<Facts> {
  const { layer, layout, algorithm, threads } = notation;
  if (threads !== undefined) setThreads(threads);
  const { plan, outputShape } = planFor(notation);
  const calibration = await calibrate();
  const facts = {
    ...{ layer, layout, outputShape, macs: macsOf(layer), tensorBytes: bytesOf(layer) },
    ...{ plan, calibration, predictedMs: predictedMs(plan, calibration) },
  };
  if (!isMeasured) return facts;
  const driver = nativeDriver(threads ?? plan.threads, { algorithm, layout });
  const [result] = await contest(layer, [driver], EFFORT);
  if (result === undefined) throw new Error('The library declined the layer');
  const { msMin, msMedian, error } = result;
  return { ...facts, measured: { msMin, msMedian, error } };
}

/** A filter of zeros is planned as any other that is finite. */
function planFor({ layer, layout, algorithm }: Notation) {
  const { batch, C, H, W, OC, KH, KW, groups } = layer;
  const shape = [OC, C / groups, KH, KW] as const;
  const input = { shape: [batch, C, H, W] as const };
  try {
    const filter = { shape, data: new Float32Array(OC * (C / groups) * KH * KW) };
    const bias = new Float32Array(OC);
    const { layer: conv, shape: inputShape } = layerIn(
      layout,
      { layer, filter, bias, input },
      algorithm,
    );
    return { plan: conv.plan(inputShape), outputShape: conv.outputShape(inputShape) };
  } catch (error) {
    // The library's of a value, or JavaScript's of a filter that no array can hold.
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`'${layer.name}': ${error.message}`);
  }
}

function lines(facts: Facts): string[] {
  const { layer, layout, outputShape, macs, plan, calibration, predictedMs, measured } = facts;
  const { algorithm, variant, isa, tile, blocks, threads } = plan;
  const kind = algorithm === 'winograd' ? 'within an error bound' : 'exact';
  const gflops = (ms: number) => `${formatGflops((2e-6 * macs) / ms)} GFLOP/s`;
  const clock = (calibration.cyclesPerMs / 1e6).toFixed(2);
  const cells: [string, string][] = [
    ['layer', `${layer.name}, ${layout}`],
    ['output', outputShape.join('x')],
    ['work', `${amount(macs)} multiply-adds on ${formatBytes(facts.tensorBytes)} of tensors`],
    ['algorithm', `${algorithm} (${variant}), ${kind}`],
    ['isa', `${isa}, register tile ${tile.mr}x${tile.nr}`],
    ['blocks', `mc ${blocks.mc}, kc ${blocks.kc}, nc ${blocks.nc}, ${blocks.lanes} on the lanes`],
    ['threads', `${threads}`],
    ['workspace', formatBytes(plan.workspaceBytes)],
    ['predicted', `${formatMs(predictedMs)} ms, ${gflops(predictedMs)}`],
    [
      '',
      `${amount(plan.estimatedCycles)} cycles of the cost model at ${clock} a ns, and a call's ` +
        `${(1000 * calibration.callMs).toFixed(2)} µs`,
    ],
  ];
  if (measured !== undefined) {
    const { msMin, msMedian, error } = measured;
    cells.push(
      ['measured', `${formatMs(msMin)} ms, ${gflops(msMin)} (median ${formatMs(msMedian)} ms)`],
      ['', `predicted / measured ${(predictedMs / msMin).toFixed(2)}`],
      ['error', `${error.toExponential(1)} of Σ|input·filter| + |bias|, against double`],
    );
  }
  return cells.map(([name, value]) => name.padEnd(12) + value);
}

/** 118 M, 1.2 G, 950 */
function amount(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} G`;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  return value >= 1e4 ? `${(value / 1e3).toPrecision(3)} k` : `${Math.round(value)}`;
}
