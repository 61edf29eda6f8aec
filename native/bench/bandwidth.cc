// SPDX-License-Identifier: MIT
#include "bandwidth.h"

#include "system/buffer.h"
#include "team.h"

namespace gemmconv {

namespace baseline {
std::ptrdiff_t triad(float*, const float*, const float*, float, std::ptrdiff_t);
}
#if defined(__x86_64__)
namespace avx2 {
std::ptrdiff_t triad(float*, const float*, const float*, float, std::ptrdiff_t);
}
namespace avx512 {
std::ptrdiff_t triad(float*, const float*, const float*, float, std::ptrdiff_t);
}
#endif

namespace bench {

Triad triad_of(std::string_view isa) {
#if defined(__x86_64__)
  if (isa == "avx512") return avx512::triad;
  if (isa == "avx2") return avx2::triad;
#endif
  return isa == "baseline" ? baseline::triad : nullptr;
}

double measure_bandwidth(Triad triad, std::size_t bytes, int threads, double seconds) {
  const auto count = static_cast<std::ptrdiff_t>(bytes / 3 / sizeof(float));
  // Some 50 µs a sample at cache speed, so that the clock does not show.
  const std::ptrdiff_t repeats = 1 + 400'000 / count;
  return measure_together(threads, seconds, [&] {
    Buffer a(static_cast<std::size_t>(count) * sizeof(float));
    Buffer b(a.size()), c(a.size());
    for (const Buffer* each : {&a, &b, &c}) {
      for (std::ptrdiff_t i = 0; i < count; ++i) each->floats()[i] = 1.0f;
    }
    return [=, a = std::move(a), b = std::move(b), c = std::move(c)] {
      double done = 0;
      for (std::ptrdiff_t i = 0; i < repeats; ++i) {
        done += static_cast<double>(triad(a.floats(), b.floats(), c.floats(), 0.5f, count));
      }
      return 12.0 * done;
    };
  });
}

}  // namespace bench
}  // namespace gemmconv
