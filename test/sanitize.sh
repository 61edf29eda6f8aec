#!/usr/bin/env bash
# Builds everything with sanitizers, apart from the usual build, and runs the native tests and the
# tests of the JS side that have to do with memory and threads. Any report is a failure.
#   test/sanitize.sh asan    addresses, undefined behaviour, leaks
#   test/sanitize.sh tsan    data races
set -euo pipefail
cd "$(dirname "$0")/.."

kind=$1
out=build/$kind
js_tests=(test/async.test.ts test/transfer.test.ts test/in-flight.test.ts test/hostile.test.ts
  test/properties.test.ts)
case $kind in
  asan)
    sanitizers=address,undefined
    native=()
    js_tests+=(test/arguments.test.ts test/tensor.test.ts test/special.test.ts)
    ;;
  tsan)
    sanitizers=thread
    native=(schedule threads)
    ;;
  *)
    echo "usage: test/sanitize.sh asan|tsan" >&2
    exit 2
    ;;
esac

npx tsc -p lib
npx tsc -p test/hostile
cmake -S . -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DGEMMCONV_SANITIZE=$sanitizers
cmake --build "$out/build" --parallel 2 --target gemmconv native_tests

# Reports go to files, for a test runner may swallow what its children print.
rm -rf "$out/reports"
mkdir -p "$out/reports"
log=log_path=$PWD/$out/reports/$kind
# Leaks are told at the end of a process, and only of one that ended in peace: see below.
export ASAN_OPTIONS=detect_leaks=0:$log
export UBSAN_OPTIONS=print_stacktrace=1:$log
# Node itself is not instrumented, nor are the threads that the test runner leaves behind ours.
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:report_thread_leaks=0:$log

# TSan wants its shadow where newer kernels may have put something else already.
run=()
if [ "$kind" = tsan ] && setarch -R true 2>/dev/null; then run=(setarch -R); fi

status=0
ASAN_OPTIONS=detect_leaks=1:$log "${run[@]}" "$out/build/native_tests" "${native[@]}" || status=$?

runtime=$(g++ -print-file-name=lib$kind.so)
in_node=("${run[@]}" env LD_PRELOAD="$runtime" GEMMCONV_ADDON="$PWD/$out/build/Release/gemmconv.node" node)
"${in_node[@]}" node_modules/vitest/vitest.mjs run "${js_tests[@]}" || status=$?

if [ $kind = asan ]; then
  ASAN_OPTIONS=detect_leaks=1:$log "${in_node[@]}" --expose-gc \
    build/hostile/test/hostile/calls.js 1 200 2>"$out/leaks.log" || status=$?
fi

if compgen -G "$out/reports/*" >/dev/null; then
  cat "$out"/reports/*
  status=1
fi
exit $status
