#!/usr/bin/env bash
# libFuzzer on the core, with ASan and UBSan. Needs clang-19 and its runtime (Debian: clang-19,
# libclang-rt-19-dev). A crash is written to build/fuzz/, to be replayed as
# `build/fuzz/plan_fuzz build/fuzz/crash-…`.
#   test/fuzz.sh [seconds]      for each target; 60 if not told
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
out=build/fuzz
CC=${CC:-clang-19} CXX=${CXX:-clang++-19} cmake -S . -B $out \
  -DGEMMCONV_SANITIZE=fuzzer-no-link,address,undefined >/dev/null
cmake --build $out --parallel 2 --target plan_fuzz pack_fuzz

for target in plan_fuzz pack_fuzz; do
  mkdir -p $out/corpus-$target
  $out/$target -max_total_time="$seconds" -timeout=20 -max_len=256 -print_final_stats=1 \
    -artifact_prefix=$out/ $out/corpus-$target
done
