import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The addon owns threads: a process a file keeps one file's pool and settings from another's.
    pool: 'forks',
    testTimeout: 60_000,
    reporters: ['default', './test/closing-line.ts'],
  },
});
