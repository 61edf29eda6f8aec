// SPDX-License-Identifier: MIT
// Independent chains of multiply-adds on registers alone: the roof that kernels are held against.
// Compiled once per ISA, with the flags of its microkernels.
#include "../kernel/vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Latency × throughput is at most 4 cycles × 2 units on CPUs in use (ten on the oldest with FMA);
// twelve chains cover that and leave registers to spare in the smallest file of 16.
constexpr int kChains = 12;

#if defined(__x86_64__)
[[gnu::always_inline]] inline void keep(Vec& v) { asm volatile("" : "+v"(v)); }
#else
[[gnu::always_inline]] inline void keep(Vec& v) { asm volatile("" : "+w"(v)); }
#endif

}  // namespace

// Does `steps` rounds; returns the floating-point operations done.
[[gnu::visibility("hidden")]] double multiply_add_chains(int steps) {
  Vec acc[kChains] = {};
  Vec x = Vec{} + 0.5f;
  Vec y = Vec{} + 1.25f;
  keep(x);
  keep(y);
  for (int i = 0; i < steps; ++i) {
    GEMMCONV_UNROLL
    for (int c = 0; c < kChains; ++c) {
      acc[c] = acc[c] * x + y;
      keep(acc[c]);  // without it the compiler may fold steps together
    }
  }
  return 2.0 * kLanes * kChains * steps;
}

}  // namespace gemmconv::GEMMCONV_ISA
