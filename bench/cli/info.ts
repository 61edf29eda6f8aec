import { info } from 'gemmconv';
import { formatBytes } from '../format.js';
import { addonPath } from '../internals.js';
import { parseCommandLine } from '../usage.js';

const HELP = `Usage: npx gemmconv info [--json]

Tells what is used: version, instruction set, cores and threads, caches, and where the native addon
was loaded from.

  --json   the same as one object of JSON
  --help   print this`;

export async function run(args: readonly string[]): Promise<void> {
  const options = { json: { type: 'boolean' }, help: { type: 'boolean' } } as const;
  const { values } = parseCommandLine({ args: [...args], options });
  if (values.help) return console.log(HELP);
  const { node } = process.versions;
  const platform = `${process.platform}-${process.arch}`;
  const facts = { ...info(), addon: addonPath(), node, platform };
  console.log(values.json ? JSON.stringify(facts, null, 2) : lines(facts).join('\n'));
}

type Facts = ReturnType<typeof info> & {
  readonly addon: string | undefined;
  readonly node: string;
  readonly platform: string;
};

function lines(facts: Facts): string[] {
  const { l1, l2, l3 } = facts.cacheBytes;
  const { GEMMCONV_ISA, GEMMCONV_THREADS } = process.env;
  const from = (name: string, value: string | undefined) => (value ? ` (by ${name})` : '');
  const caches = [`L1 ${formatBytes(l1)}`, `L2 ${formatBytes(l2)}`];
  if (l3 > 0) caches.push(`L3 ${formatBytes(l3)}`);
  const isas = `${facts.isa} of ${facts.availableIsas.join(', ')}`;
  const cells = {
    gemmconv: facts.version,
    isa: isas + from('GEMMCONV_ISA', GEMMCONV_ISA),
    cores: `${facts.cores}`,
    threads: `${facts.threads}${from('GEMMCONV_THREADS', GEMMCONV_THREADS)}`,
    caches: caches.join(', '),
    addon: facts.addon ?? 'unknown',
    node: `${facts.node}, ${facts.platform}`,
  };
  return Object.entries(cells).map(([name, value]) => name.padEnd(12) + value);
}
