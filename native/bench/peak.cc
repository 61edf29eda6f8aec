// SPDX-License-Identifier: MIT
#include "peak.h"

#include <algorithm>
#include <chrono>

namespace gemmconv {

namespace baseline {
double multiply_add_chains(int steps);
}
#if defined(__x86_64__)
namespace avx2 {
double multiply_add_chains(int steps);
}
namespace avx512 {
double multiply_add_chains(int steps);
}
#endif

namespace bench {

Chains chains_of(std::string_view isa) {
#if defined(__x86_64__)
  if (isa == "avx512") return avx512::multiply_add_chains;
  if (isa == "avx2") return avx2::multiply_add_chains;
#endif
  return isa == "baseline" ? baseline::multiply_add_chains : nullptr;
}

double measure_peak(Chains chains, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int kSteps = 20000;  // about 60 µs: short enough to fall between interruptions
  double best = 0;
  const auto start = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
    const auto before = Clock::now();
    const double flops = chains(kSteps);
    const std::chrono::duration<double> elapsed = Clock::now() - before;
    best = std::max(best, flops / elapsed.count() * 1e-9);
  }
  return best;
}

}  // namespace bench
}  // namespace gemmconv
