import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Conv2d } from '../lib/conv2d.js';
import type { Algorithm, Layout } from '../lib/types.js';

// 3×3, 64 to 64 channels, 512×512: the whole im2col matrix would be 576 MiB.
const MIB = 2 ** 20;
const LIMIT = 16 * MIB;
const TENSOR = 64 * 256 * 512 * 4;
const SHAPES = { nchw: [1, 64, 512, 512], nhwc: [1, 512, 512, 64] } as const;
/** Half of it is computed: 32 MiB a tensor, still far more than the limit. */
const HALVES = { nchw: [1, 64, 256, 512], nhwc: [1, 256, 512, 64] } as const;
const LAYOUTS = ['nchw', 'nhwc'] as const;
const ALGORITHMS = ['auto', 'gemm', 'direct', 'winograd'] as const;
const CASES = LAYOUTS.flatMap((layout) => ALGORITHMS.map((algorithm) => ({ layout, algorithm })));

test.each(CASES)('the plan of $algorithm on $layout asks for little', ({ layout, algorithm }) => {
  const filter = { shape: [64, 64, 3, 3], data: new Float32Array(64 * 64 * 9) };
  const layer = new Conv2d(filter, { padding: 1, layout, algorithm });
  expect(layer.plan(SHAPES[layout]).workspaceBytes).toBeLessThan(LIMIT);
});

// Linux tells the peak of a process; elsewhere the plan's word has to do.
describe.skipIf(process.platform !== 'linux')('peak memory beyond the tensors', () => {
  test.each(CASES)('runSync, $algorithm on $layout', ({ layout, algorithm }) => {
    const { workspaceBytes, addedBytes } = measure(layout, algorithm, 'runSync');
    expect(addedBytes).toBeLessThan(LIMIT);
    // Everything else that a call touches for the first time: code, stacks, JS heap.
    expect(addedBytes - workspaceBytes).toBeLessThan(6 * MIB);
  });

  test('run holds a copy of its input, and computes aside, besides', () => {
    const { addedBytes } = measure('nchw', 'auto', 'run');
    expect(addedBytes - 2 * TENSOR).toBeLessThan(LIMIT);
  });
});

interface Measured {
  readonly workspaceBytes: number;
  readonly addedBytes: number;
}

/** In a process of its own: the peak of this one remembers other tests. */
function measure(layout: Layout, algorithm: Algorithm, method: 'run' | 'runSync'): Measured {
  const script = `
    import { readFileSync } from 'node:fs';
    import { Conv2d } from 'gemmconv';
    const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status'))[1]) * 1024;
    const filter = { shape: [64, 64, 3, 3], data: new Float32Array(64 * 64 * 9).fill(0.5) };
    const layer = new Conv2d(filter, { padding: 1, layout: '${layout}', algorithm: '${algorithm}' });
    const input = { shape: ${JSON.stringify(HALVES[layout])}, data: new Float32Array(${TENSOR / 4}).fill(1) };
    const out = new Float32Array(${TENSOR / 4}).fill(1);
    const { workspaceBytes } = layer.plan(input.shape);
    const before = peak();
    await layer.${method}(input, { out });
    console.log(JSON.stringify({ workspaceBytes, addedBytes: peak() - before }));
  `;
  const root = fileURLToPath(new URL('..', import.meta.url));
  const options = { cwd: root, encoding: 'utf8' } as const;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], options);
  expect(run.status, run.stderr).toBe(0);
  return JSON.parse(run.stdout);
}
