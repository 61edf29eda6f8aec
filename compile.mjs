// Compiles the addon into build/Release. For those whom no prebuilt one fits, too:
//   node node_modules/gemmconv/compile.mjs
// It needs CMake and a C++20 compiler, and downloads nothing.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));

// Clang by its own command line: clang-cl ignores -ffp-contract, and MSVC has no vector type.
const windows = process.platform === 'win32' ? ['-G', 'Ninja', '-DCMAKE_CXX_COMPILER=clang++'] : [];

cmake('-S', root, '-B', `${root}build`, '-DCMAKE_BUILD_TYPE=Release', ...windows);
cmake('--build', `${root}build`, '--target', 'gemmconv', '--parallel', availableParallelism());

function cmake(...args) {
  const { error, status } = spawnSync('cmake', args, { stdio: 'inherit' });
  if (error === undefined && status === 0) return;
  console.error(
    [
      '',
      `gemmconv was not compiled: ${error === undefined ? 'see above.' : `${error.message}.`}`,
      'It takes CMake 3.18 and a C++20 compiler, GCC 12 or a Clang of these years:',
      '  Debian, Ubuntu   apt-get install cmake g++',
      '  Alpine           apk add cmake make g++',
      '  macOS            xcode-select --install && brew install cmake',
      '  Windows          winget install Kitware.CMake Ninja-build.Ninja LLVM.LLVM, and the',
      '                   C++ build tools of Visual Studio',
    ].join('\n'),
  );
  process.exit(1);
}
