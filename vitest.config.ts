import { defineConfig } from 'vitest/config';
import { PATIENCE } from './test/patience.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The addon owns threads: a process a file keeps one file's pool and settings from another's.
    pool: 'forks',
    // On two cores the default is one process.
    maxWorkers: '100%',
    testTimeout: 60_000 * PATIENCE,
    hookTimeout: 60_000 * PATIENCE,
    reporters: ['default', './test/closing-line.ts'],
  },
});
