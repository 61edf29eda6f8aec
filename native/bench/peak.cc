// SPDX-License-Identifier: MIT
#include "peak.h"

#include "team.h"

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

double measure_peak(Chains chains, double seconds, int threads) {
  constexpr int kSteps = 20000;  // about 60 µs: short enough to fall between interruptions
  return measure_together(threads, seconds, [&] { return [&] { return chains(kSteps); }; });
}

}  // namespace bench
}  // namespace gemmconv
