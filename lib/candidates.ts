import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { faultOf, interpreterOf } from './elf.js';

/** A place where the addon may be. */
export interface Candidate {
  readonly file: string;
  /** Why it must not be tried, or cannot be; null when nothing speaks against it. */
  readonly unfit: string | null;
  /** Whether it came with the package for a system like this one, and so ought to load. */
  readonly isOurs: boolean;
}

/** In the order in which they are tried: what was compiled here was compiled for a reason. */
export function candidatesIn(packageRoot: string): Candidate[] {
  const named = process.env.GEMMCONV_ADDON;
  if (named) return [examined(named, false)];
  return [
    examined(join(packageRoot, 'build', 'Release', 'gemmconv.node'), false),
    ...prebuiltIn(join(packageRoot, 'prebuilds')),
  ];
}

function prebuiltIn(directory: string): Candidate[] {
  const { platform, arch } = process;
  const target = `${platform}-${arch}`;
  const folder = join(directory, target);
  const files = namesIn(folder).filter((name) => name.endsWith('.node'));
  const isAnother = anotherLibc();
  if (files.length > 0) {
    return files.map((name) =>
      isAnother !== null && name.includes(`.${isAnother}.`)
        ? unfit(join(folder, name), `is for ${isAnother}`)
        : examined(join(folder, name), true),
    );
  }
  const others = namesIn(directory).filter((name) => name !== target);
  const there = others.length === 0 ? 'nor any other prebuilt addon' : `only ${others.join(', ')}`;
  return [unfit(join(folder, '*.node'), `is not there, ${there}`)];
}

function unfit(file: string, reason: string): Candidate {
  return { file, unfit: reason, isOurs: false };
}

function examined(file: string, isOurs: boolean): Candidate {
  return { file, unfit: faultIn(file), isOurs };
}

function faultIn(file: string): string | null {
  if (!existsSync(file)) return 'is not there';
  try {
    return process.platform === 'linux' ? faultOf(file, process.arch) : null;
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
}

/**
 * The C library, of the two on Linux, that this process does not use. Its addons are not tried: a
 * compatibility layer may load them, and they fail later. null when there is no telling.
 */
function anotherLibc(): 'glibc' | 'musl' | null {
  if (process.platform !== 'linux') return null;
  try {
    const interpreter = interpreterOf(process.execPath);
    if (interpreter === null) return null;
    return interpreter.includes('ld-musl') ? 'glibc' : 'musl';
  } catch {
    return null;
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
