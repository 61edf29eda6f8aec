import type { Layout } from 'gemmconv';
import type { Effort } from './clock.js';
import { contest, type Result } from './contest.js';
import { exactVariants, variantChosen, variantDriver } from './drivers/variant.js';
import { variants } from './internals.js';
import type { BenchLayer } from './layers.js';
import { makeWorkload } from './workload.js';

const LAYOUTS = ['nchw', 'nhwc'] as const;

/** A choice is good when nothing was faster by more than this. */
const TOLERANCE = 1.05;
/** How much longer a choice that seems bad is measured again, with the fastest, before it is. */
const DISPUTE = 4;

/** One layer in one layout: what each variant took, and what was chosen. */
export interface Row {
  readonly layer: string;
  readonly layout: Layout;
  /** Milliseconds a call, by variant. */
  readonly ms: ReadonlyMap<string, number>;
  readonly auto: Choice;
  /** Among the exact variants. */
  readonly exact: Choice;
}

export interface Choice {
  readonly chosen: string;
  readonly best: string;
  /** Time of the chosen one over that of the best: 1 if it is the best. */
  readonly ratio: number;
}

/** Times every variant of every algorithm that can do the layer, in both layouts, in turn. */
export async function compare(
  layer: BenchLayer,
  threads: number,
  effort: Effort,
): Promise<readonly Row[]> {
  const workload = makeWorkload(layer);
  const drivers = LAYOUTS.flatMap((layout) =>
    variants().map((variant) => variantDriver(variant, layout, threads)),
  );
  const least = new Map<string, number>();
  const keep = (results: readonly Result[]) => {
    for (const { driver, msMin } of results) {
      least.set(driver, Math.min(msMin, least.get(driver) ?? Number.POSITIVE_INFINITY));
    }
  };
  keep(await contest(layer, drivers, effort));

  const rows = () =>
    LAYOUTS.map((layout): Row => {
      const able = variants().filter((variant) => least.has(`${variant} ${layout}`));
      const ms = new Map(able.map((one) => [one, least.get(`${one} ${layout}`) as number]));
      const exact = exactVariants(able, layout, workload);
      return {
        layer: layer.name,
        layout,
        ms,
        auto: choiceOf(variantChosen('auto', layout, workload), able, ms),
        exact: choiceOf(variantChosen('exact', layout, workload), exact, ms),
      };
    });
  const disputed = new Set(
    rows().flatMap(({ layout, auto, exact }) =>
      [auto, exact]
        .filter((choice) => !isGood(choice))
        .flatMap(({ chosen, best }) => [`${chosen} ${layout}`, `${best} ${layout}`]),
    ),
  );
  if (disputed.size > 0) {
    const again = drivers.filter(({ name }) => disputed.has(name));
    keep(await contest(layer, again, { ...effort, budgetMs: effort.budgetMs * DISPUTE }));
  }
  return rows();
}

function choiceOf(
  chosen: string,
  candidates: readonly string[],
  ms: ReadonlyMap<string, number>,
): Choice {
  const timeOf = (variant: string) => ms.get(variant) as number;
  const best = candidates.reduce((a, b) => (timeOf(b) < timeOf(a) ? b : a));
  return { chosen, best, ratio: timeOf(chosen) / timeOf(best) };
}

function isGood({ ratio }: Choice): boolean {
  return ratio <= TOLERANCE;
}

const LAYER_WIDTH = 34;

/** One line of the table: `a` marks what auto chose, `e` what exact chose. */
export function rowLine({ layer, layout, ms, auto, exact }: Row): string {
  const cells = variants().map((variant) => {
    const time = ms.get(variant);
    const marks = `${variant === auto.chosen ? 'a' : ''}${variant === exact.chosen ? 'e' : ''}`;
    const cell = time === undefined ? '-' : `${time.toPrecision(3)} ${marks.padEnd(2)}`;
    return cell.padStart(widthOf(variant));
  });
  const ratios = [auto, exact].map((choice) => choice.ratio.toFixed(2).padStart(8));
  return `${layer} ${layout}`.padEnd(LAYER_WIDTH) + cells.join('') + ratios.join('');
}

export function headerLine(): string {
  const titles = variants().map((variant) => variant.padStart(widthOf(variant)));
  const last = ['auto', 'exact'].map((title) => title.padStart(8));
  return 'ms a call'.padEnd(LAYER_WIDTH) + titles.join('') + last.join('');
}

function widthOf(variant: string): number {
  return Math.max(variant.length, '0.1234 ae'.length) + 2;
}

/** On how many layers each choice is good, and on which it is not. */
export function verdictLines(rows: readonly Row[]): string[] {
  return (['auto', 'exact'] as const).flatMap((name) => {
    const bad = rows.filter((row) => !isGood(row[name]));
    const good = rows.length - bad.length;
    const percent = Math.round(100 * (TOLERANCE - 1));
    const verdict = `${name} is within ${percent} % of the best on ${good} of ${rows.length}`;
    return [
      verdict + (bad.length === 0 ? '' : '; not on'),
      ...bad.map((row) => {
        const { chosen, best, ratio } = row[name];
        return `  ${row.layer} ${row.layout}: ${chosen} takes ${ratio.toFixed(2)}× the time of ${best}`;
      }),
    ];
  });
}
