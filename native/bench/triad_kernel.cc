// SPDX-License-Identifier: MIT
// STREAM's triad: the roof of layers that do little with what they read. Compiled once per ISA, as
// loads and stores must be as wide as those of its microkernels.
#include "../kernel/vec.h"

namespace gemmconv::GEMMCONV_ISA {

// a[i] = b[i] + factor * c[i]; returns the floats done, which are whole vectors.
[[gnu::visibility("hidden")]] std::ptrdiff_t triad(float* a, const float* b, const float* c,
                                                   float factor, std::ptrdiff_t count) {
  const Vec f = Vec{} + factor;
  std::ptrdiff_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    GEMMCONV_UNROLL
    for (int v = 0; v < 4; ++v) {
      const std::ptrdiff_t at = i + v * kLanes;
      store(a + at, load(b + at) + f * load(c + at));
    }
  }
  return i;
}

}  // namespace gemmconv::GEMMCONV_ISA
