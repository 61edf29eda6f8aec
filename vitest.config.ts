import { configDefaults, defineConfig } from 'vitest/config';
import { PATIENCE } from './test/patience.js';

/**
 * Files that load no addon, or in child processes alone. They may share a process, whose start would
 * be most of the time of most.
 */
const PLAIN = [
  ...['architecture', 'disassembly', 'docs', 'errors', 'geometry', 'golden/*', 'hostile', 'links'],
  ...['load', 'native', 'package', 'problem', 'report'],
].map((name) => `test/${name}.test.ts`);

export default defineConfig({
  test: {
    // The addon owns threads: a process a file keeps one file's pool and settings from another's.
    pool: 'forks',
    // On two cores the default is one process.
    maxWorkers: '100%',
    testTimeout: 60_000 * PATIENCE,
    hookTimeout: 60_000 * PATIENCE,
    reporters: ['default', './test/closing-line.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'addon',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...PLAIN],
        },
      },
      { extends: true, test: { name: 'plain', include: PLAIN, isolate: false } },
    ],
  },
});
