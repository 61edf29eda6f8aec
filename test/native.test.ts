import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const build = fileURLToPath(new URL('../build/', import.meta.url));

test('the tests of the C++ core pass', () => {
  const executable = join(
    build,
    process.platform === 'win32' ? 'native_tests.exe' : 'native_tests',
  );
  // CI runs all of their random cases, as compiled by two compilers.
  const run = spawnSync(executable, ['--short'], { encoding: 'utf8' });
  const lines = `${run.stdout ?? ''}${run.stderr ?? ''}`;
  const failures = lines.split('\n').filter((line) => line !== '' && !line.startsWith('ok '));
  expect(failures, run.error?.message ?? lines).toEqual([]);
  expect(run.status, lines).toBe(0);
  expect(lines).toMatch(/^ok /m);
});

// An inline library function compiled for a newer instruction set becomes a weak symbol, which the
// linker may choose for everybody: an illegal instruction on an older CPU.
const nmExists = spawnSync('nm', ['--version']).error === undefined;

describe.skipIf(!nmExists)('a kernel object defines its one symbol and no other', () => {
  const objects = readdirSync(join(build, 'CMakeFiles'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /gemmconv_kernel_\w+\.dir.*\.o$/.test(path))
    .sort();

  test('there are kernel objects', () => expect(objects).not.toEqual([]));

  const paths = objects.map((object) => join(build, 'CMakeFiles', object));
  const nm = spawnSync('nm', ['--defined-only', '-gCA', ...paths], { encoding: 'utf8' });

  test.each(objects)('%s', (object) => {
    expect(nm.status, nm.stderr).toBe(0);
    const path = join(build, 'CMakeFiles', object);
    const symbols = nm.stdout.split('\n').filter((line) => line.startsWith(`${path}:`));
    expect(symbols).toHaveLength(1);
  });
});
