#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { closest } from '../usage.js';

/** What each command is in: loaded when asked for, so that help is there without the addon, too. */
const COMMANDS = {
  bench: () => import('./bench.js'),
  info: () => import('./info.js'),
  plan: () => import('./plan.js'),
} as const;

const HELP = `Usage: npx gemmconv <command> [options]

  info                             this build and this machine
  plan "3x224x224 -> 64 k7 s2 p3"  how a layer would be computed, and how long that should take
  bench                            this library beside plain JavaScript and the peers installed
  bench "3x224x224 -> 64 k7 s2 p3" the same on a layer of your own

  --help                           print this, or with a command how that is used
  --version                        print the version

Exit codes: 0, 1 when something failed, 2 for a wrong command line.`;

async function main([command, ...args]: readonly string[]): Promise<number> {
  if (command === 'help' && args[0] !== undefined) return main([args[0], '--help']);
  if (command === '--help' || command === '-h' || command === 'help') return print(HELP);
  if (command === '--version' || command === '-v') return print(version());
  if (command === undefined) return refuse(`No command given.\n\n${HELP}`);
  if (!Object.hasOwn(COMMANDS, command)) {
    const names = Object.keys(COMMANDS);
    const meant = closest(command, names);
    const hint = meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`;
    return refuse(`Unknown command '${command}': ${hint}\nTry npx gemmconv --help.`);
  }
  try {
    const { run } = await COMMANDS[command as keyof typeof COMMANDS]();
    const { exitCodeOf } = await import('../exit.js');
    return await exitCodeOf(() => run(args));
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}

function version(): string {
  const file = createRequire(import.meta.url).resolve('gemmconv/package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function refuse(message: string): number {
  console.error(message);
  return 2;
}

process.exitCode = await main(process.argv.slice(2));
