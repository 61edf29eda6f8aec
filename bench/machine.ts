import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { info } from 'gemmconv';

export interface Machine {
  readonly cpu: string;
  readonly platform: string;
  readonly node: string;
  readonly gemmconv: string;
  readonly isa: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** GFLOP/s of one thread that does nothing but FMAs in registers; undefined if not measured. */
  readonly peakGflops: number | undefined;
}

/** What so many threads together can do at most. */
export interface Roof {
  readonly threads: number;
  /** FMAs in registers alone. */
  readonly gflops: number;
  /** GB/s of a triad whose arrays lie in this level: l1, l2, l3, memory. */
  readonly gbytes: Readonly<Record<string, number>>;
}

export function describeMachine(): Machine {
  const { version, isa, cores } = info();
  return {
    cpu: cpus()[0]?.model ?? 'unknown CPU',
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    gemmconv: version,
    isa,
    cores,
    memoryBytes: totalmem(),
    peakGflops: probe<{ gflops: number }>('--peak', isa)?.gflops,
  };
}

/** Of one thread and of all; none where it cannot be measured. */
export function probeRoofs(threads: number): readonly Roof[] {
  return probe<{ roofs: Roof[] }>('--roofs', `${threads}`, info().isa)?.roofs ?? [];
}

/** JavaScript has no FMA to probe with: `gemm_bench`, of the repository, prints JSON. */
function probe<Answer>(...args: string[]): Answer | undefined {
  const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
  const { stdout, status } = spawnSync(join(root, 'build', 'gemm_bench'), args, {
    encoding: 'utf8',
  });
  return status === 0 ? (JSON.parse(stdout) as Answer) : undefined;
}
