/** A line of a function's disassembly. */
export interface Instruction {
  readonly address: number;
  readonly text: string;
}

const isJump = ({ text }: Instruction) => /^(j\w+|b|b\.\w+|cbn?z|tbn?z)\s/.test(text);
const targetOf = ({ text }: Instruction) => Number.parseInt(/(\w+) </.exec(text)?.[1] ?? '', 16);

/**
 * Loops, as sets of indices, those within others too: code from all of which all of it can be
 * reached again, and then what of it still can when its entry is taken out. (A range of addresses
 * would not do: compilers put other code between, and enter loops in the middle.)
 */
export function loopsOf(code: readonly Instruction[]): Set<number>[] {
  const { after, before } = edgesOf(code);
  const loops: Set<number>[] = [];
  // Not what pads the code for alignment, which seems to lead into what follows it.
  const reached = new Set(walk(0, after, new Set(code.keys()), new Set(), []));
  const isEntry = (index: number, loop: ReadonlySet<number>) =>
    before[index]?.some((from) => reached.has(from) && !loop.has(from));
  const regions = [reached];
  for (let region = regions.pop(); region !== undefined; region = regions.pop()) {
    for (const loop of componentsOf(region, after, before)) {
      loops.push(loop);
      const entry = [...loop].find((index) => isEntry(index, loop));
      regions.push(new Set([...loop].filter((index) => index !== entry)));
    }
  }
  return loops;
}

/** Where control may go from each instruction, and come from. */
function edgesOf(code: readonly Instruction[]): Record<'after' | 'before', number[][]> {
  const indexOf = new Map(code.map(({ address }, index) => [address, index]));
  const after = code.map((one, index) => {
    const next = /^(jmp|b\s|ret)/.test(one.text) || index + 1 === code.length ? [] : [index + 1];
    const to = isJump(one) ? indexOf.get(targetOf(one)) : undefined;
    return to === undefined ? next : [...next, to];
  });
  const before: number[][] = code.map(() => []);
  for (const [from, targets] of after.entries()) for (const to of targets) before[to]?.push(from);
  return { after, before };
}

/** The strongly connected components of a part of a graph, by Kosaraju; those that are loops. */
function componentsOf(
  region: ReadonlySet<number>,
  after: readonly number[][],
  before: readonly number[][],
): Set<number>[] {
  const order: number[] = [];
  const seen = new Set<number>();
  for (const start of region) walk(start, after, region, seen, order);
  const assigned = new Set<number>();
  return order
    .reverse()
    .map((start) => walk(start, before, region, assigned, []))
    .filter(([first, ...rest]) => rest.length > 0 || after[first ?? -1]?.includes(first ?? -1))
    .map((component) => new Set(component));
}

/** Everything in reach that has not been seen, each behind what is reached from it. */
function walk(
  start: number,
  edges: readonly number[][],
  region: ReadonlySet<number>,
  seen: Set<number>,
  order: number[],
): number[] {
  const open = [{ node: start, next: 0 }];
  if (seen.has(start)) return order;
  seen.add(start);
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const to = edges[top.node]?.[top.next++];
    if (to === undefined) {
      order.push(top.node);
      open.pop();
    } else if (region.has(to) && !seen.has(to)) {
      seen.add(to);
      open.push({ node: to, next: 0 });
    }
  }
  return order;
}
