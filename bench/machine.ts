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
    peakGflops: probePeak(),
  };
}

/** JavaScript has no FMA to probe with: `gemm_bench --peak` prints {"isa": …, "gflops": …}. */
export function probePeak(): number | undefined {
  const root = dirname(createRequire(import.meta.url).resolve('gemmconv/package.json'));
  const { stdout, status } = spawnSync(join(root, 'build', 'gemm_bench'), ['--peak'], {
    encoding: 'utf8',
  });
  if (status !== 0) return undefined;
  const { gflops } = JSON.parse(stdout) as { gflops: number };
  return gflops;
}
