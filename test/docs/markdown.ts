import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A fenced block, or an HTML comment that holds code: run, but not shown. */
export interface Block {
  readonly file: string;
  /** Of its first line of code. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  readonly isHidden: boolean;
  /** Nothing but blank lines stands between it and the block before. */
  readonly followsDirectly: boolean;
}

/** Where our own Markdown is: at the top, and in these folders. */
const FOLDERS = ['docs', 'bench', '.github'];
const OTHERS = /(^|\/)(node_modules|build|dist)\//;

/** All Markdown files of the repository, by path from its root, with forward slashes. */
export function markdownFiles(): string[] {
  const top = readdirSync(root).filter((name) => name.endsWith('.md'));
  const deeper = FOLDERS.flatMap((folder) => {
    const names = entriesOf(join(root, folder));
    return names.map((name) =>
      relative(root, join(root, folder, name))
        .split(sep)
        .join('/'),
    );
  });
  return [...top, ...deeper.filter((path) => path.endsWith('.md') && !OTHERS.test(path))].sort();
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
}

export function readMarkdown(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

const FENCE = /^( *)(`{3,})([^`]*)$/;
const HIDDEN = /^<!-- (js)$/;

/** Every block of code, in order. */
export function blocksOf(file: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let afterBlock = false;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] as string;
    const [, indent = '', ticks, info] = FENCE.exec(line) ?? [];
    const hidden = HIDDEN.exec(line)?.[1];
    if (ticks === undefined && hidden === undefined) {
      if (line.trim() !== '') afterBlock = false;
      continue;
    }
    const closing = hidden === undefined ? `${indent}${ticks}` : '-->';
    const end = lines.indexOf(closing, at + 1);
    if (end < 0) throw new Error(`${file}:${at + 1}: the block does not end`);
    blocks.push({
      file,
      line: at + 2,
      language: hidden ?? (info as string).trim(),
      code: lines
        .slice(at + 1, end)
        .map((code) => (code.startsWith(indent) ? code.slice(indent.length) : code))
        .join('\n'),
      isHidden: hidden !== undefined,
      followsDirectly: afterBlock,
    });
    afterBlock = true;
    at = end;
  }
  return blocks;
}

/** The text without fenced blocks, comments and, if asked, inline code; lines keep their numbers. */
export function proseOf(text: string): string {
  const blank = (match: string) => match.replace(/[^\n]/g, '');
  return text
    .replace(/^( *)(`{3,})[^`\n]*\n[\s\S]*?^\1\2$/gm, blank)
    .replace(/<!--[\s\S]*?-->/g, blank);
}

/** The anchors that GitHub gives to a file's headings, and those it has of its own. */
export function anchorsOf(text: string): Set<string> {
  const prose = proseOf(text);
  const anchors = new Set([...prose.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id as string));
  const seen = new Map<string, number>();
  for (const [, heading = ''] of prose.matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const slug = slugOf(heading);
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** As GitHub makes it: letters, digits, hyphens and underscores stay, spaces become hyphens. */
function slugOf(heading: string): string {
  return heading
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\\(.)/g, '$1')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}\-_ ]/gu, '')
    .replaceAll(' ', '-');
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

/** Inline links and images, and definitions of reference links. */
export function linksOf(text: string): Link[] {
  const prose = proseOf(text).replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ' '));
  const found = [
    ...prose.matchAll(/\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)/g),
    ...prose.matchAll(/^ *\[[^\]]+\]: +(\S+)/gm),
  ];
  return found.map(({ 1: target = '', index }) => ({
    target,
    line: prose.slice(0, index).split('\n').length,
  }));
}
