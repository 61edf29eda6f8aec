import type { Block } from './markdown.js';

/**
 * All JavaScript of one page as one module. Each block is nested in the one before: it sees what
 * they defined, and may define a name anew.
 */
export function moduleOf(blocks: readonly Block[]): string {
  const opened = blocks.map(
    ({ file, line, code }, i) => `{ // ${file}:${line}
console.log(${JSON.stringify(markOf(i))});
${withDynamicImports(code)}`,
  );
  return `${opened.join('\n')}\n${'}'.repeat(blocks.length)}\n`;
}

const IMPORT = /^import\s+(?:(\{[^}]*\})|\* as (\w+)|(\w+))\s+from\s+('[^']+'|"[^"]+");$/gm;

/** Static imports stand at the top of a module alone; a dynamic one may stand in a block. */
function withDynamicImports(code: string): string {
  return code.replace(IMPORT, (_, names?: string, all?: string, only?: string, from?: string) => {
    if (names !== undefined) {
      // `{ a as b }` is `{ a: b }`; what is not exported is an error, as it would be.
      const wanted = [...names.matchAll(/(\w+)(?:\s+as\s+\w+)?/g)].map(([, name]) => name);
      const pattern = names.replace(/\s+as\s+/g, ': ');
      const check = `for (const name of ${JSON.stringify(wanted)}) if (!(name in await import(${from}))) throw new SyntaxError(name + ' is not exported by ' + ${from});`;
      return `${check} const ${pattern} = await import(${from});`;
    }
    return all !== undefined
      ? `const ${all} = await import(${from});`
      : `const { default: ${only} } = await import(${from});`;
  });
}

const markOf = (block: number) => `----- block ${block}`;

/** What each block printed. */
export function outputsOf(stdout: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const begin = stdout.indexOf(`${markOf(i)}\n`);
    const end = stdout.indexOf(`${markOf(i + 1)}\n`);
    if (begin < 0) return '';
    return stdout.slice(begin + markOf(i).length + 1, end < 0 ? undefined : end);
  });
}

/**
 * What a block is to print: the comments behind its calls of console.log, then the `text` block that
 * follows it directly, if there is one.
 */
export function expectedOutputOf(block: Block, next: Block | undefined): string[] {
  const comments = [...block.code.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm)];
  const lines = comments.map(([, comment]) => comment as string);
  if (next?.language === 'text' && next.followsDirectly) lines.push(...next.code.split('\n'));
  return lines;
}

/** Line for line, but for blanks at their ends; `…` stands for anything. */
export function matchesOutput(printed: string, expected: readonly string[]): boolean {
  const lines = printed.trimEnd() === '' ? [] : printed.trimEnd().split('\n');
  return (
    lines.length === expected.length &&
    lines.every((line, i) => patternOf(expected[i] as string).test(line.trimEnd()))
  );
}

function patternOf(line: string): RegExp {
  const parts = line.trimEnd().split('…');
  return new RegExp(
    `^${parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')}$`,
  );
}
