import { parseArgs } from 'node:util';

/** A wrong command line; its message is for the user. */
export class UsageError extends Error {}

/** A layer, as one types it. */
export const EXAMPLE = 'say "3x224x224 -> 64 k7 s2 p3"';

/** `parseArgs` whose errors are the user's, with a hint. */
export const parseCommandLine: typeof parseArgs = (config) => {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError(retold((error as Error).message, Object.keys(config?.options ?? {})));
  }
};

/** What Node says of a wrong command line, shorter. */
function retold(message: string, options: readonly string[]): string {
  const [, unknown] = /^Unknown option '(-.+?)'/.exec(message) ?? [];
  if (unknown?.startsWith('->')) return `A layer goes between quotes, ${EXAMPLE}`;
  if (unknown !== undefined) {
    const meant = closest(unknown.replace(/^-+/, ''), options);
    return `Unknown option ${unknown}${meant === undefined ? '' : `: did you mean --${meant}?`}`;
  }
  const [, lacking] = /^Option '.*?(--[\w-]+)(?: <value>)?' argument/.exec(message) ?? [];
  if (lacking !== undefined) return `${lacking} takes a value`;
  const [, flag] = /^Option '.*?(--[\w-]+)' does not take/.exec(message) ?? [];
  if (flag !== undefined) return `${flag} takes no value`;
  const [, extra] = /^Unexpected argument '(.*?)'/.exec(message) ?? [];
  return extra === undefined ? message : `Unexpected argument '${extra}'`;
}

/** The one of `names` that differs least from what was typed, if it may have been meant. */
export function closest(typed: string, names: readonly string[]): string | undefined {
  const distances = names.map((name) => ({ name, distance: editDistance(typed, name) }));
  const [best] = distances.sort((a, b) => a.distance - b.distance);
  if (best === undefined || best.distance > typed.length / 2) return undefined;
  return best.name;
}

/** Letters to insert, delete or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
