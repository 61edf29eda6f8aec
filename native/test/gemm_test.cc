// SPDX-License-Identifier: MIT
#include "gemm/gemm.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "dispatch.h"

namespace gemmconv::test {
namespace {

constexpr Epilogue kNone{Activation::none, -std::numeric_limits<float>::infinity(),
                         std::numeric_limits<float>::infinity()};

// C = A·B + bias with awkward sizes and small blocks, against one chain of fmaf an element.
// So many pixels, or, if none, some.
void check_gemm(Suite& suite, const Isa& isa, Lanes lanes, std::ptrdiff_t pixels, Random& random) {
  const std::ptrdiff_t m = 1 + random.below(70);
  const std::ptrdiff_t few = random.below(3) == 0 ? 4 : 150;
  const std::ptrdiff_t n = pixels > 0 ? pixels : 1 + random.below(few);
  const std::ptrdiff_t k = random.below(60);
  std::vector<float> a(static_cast<std::size_t>(m * k));
  std::vector<float> b(static_cast<std::size_t>(k * n));
  std::vector<float> bias(static_cast<std::size_t>(m + 64), 0.0f);
  for (float& x : a) x = random.real();
  for (float& x : b) x = random.real();
  for (std::ptrdiff_t i = 0; i < m; ++i) bias[static_cast<std::size_t>(i)] = random.real();
  constexpr float kUntouched = 12345.0f;
  std::vector<float> c(static_cast<std::size_t>(m * n) + 1, kUntouched);

  Gemm g{};
  g.kernel = isa.kernels.gemm;
  g.lanes = lanes;
  g.pointwise = true;
  g.m = m;
  g.k = k;
  g.blocks = {1 + random.below(40), 1 + random.below(70), 1 + random.below(80)};
  if (pixels > 0) g.blocks = {m + kMaxRows, k + 1, n};
  g.patches = {b.data(), n, n, 1, 1, n, n, 1, 1, 1, 1, 1, 1, 0, 0};
  g.destination = {c.data(), nullptr, n, 1, bias.data(), kNone};
  const Panels panels = g.filter_panels();
  std::vector<float> packed(static_cast<std::size_t>(k * panels.stored()) + 1);
  pack_filter({a.data(), k, 1, 1, 1, k, 1, 1}, panels, g.blocks.kc, packed.data());
  g.filter_packed = packed.data();

  const std::ptrdiff_t cut = random.below(panels.count() + 1);
  std::vector<float> scratch(static_cast<std::size_t>(gemm_scratch(g, panels.stored(), n)) + 1,
                             kUntouched);
  gemm(g, {0, cut}, {0, n}, scratch.data());
  gemm(g, {cut, panels.count()}, {0, n}, scratch.data());
  suite.check(scratch.back() == kUntouched, "wrote past its scratch");
  suite.check(c.back() == kUntouched, "wrote past C");
  const bool fused = kBaselineFuses || std::string(isa.name) != "baseline";
  for (std::ptrdiff_t i = 0; i < m; ++i) {
    for (std::ptrdiff_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::ptrdiff_t p = 0; p < k; ++p) {
        sum = std::fma(a[static_cast<std::size_t>(i * k + p)],
                       b[static_cast<std::size_t>(p * n + j)], sum);
      }
      const float expected = sum + bias[static_cast<std::size_t>(i)];
      const float got = c[static_cast<std::size_t>(i * n + j)];
      if (fused ? got == expected : std::fabs(got - expected) < 1e-4f) continue;
      suite.check(false,
                  "m=" + std::to_string(m) + " n=" + std::to_string(n) + " k=" + std::to_string(k));
    }
  }
}

}  // namespace

void gemm_tests(Suite& suite) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    for (const Lanes lanes : {Lanes::pixels, Lanes::channels}) {
      const char* side = lanes == Lanes::pixels ? "pixels" : "channels";
      suite.test(std::string("gemm on ") + isa.name + ", " + side + " on the lanes", [&] {
        Random random(3);
        for (int repeat = 0; repeat < suite.repeats(300); ++repeat) {
          check_gemm(suite, isa, lanes, 0, random);
        }
        // Tiles that start where lines do.
        for (int repeat = 0; repeat < 5; ++repeat) check_gemm(suite, isa, lanes, 2048, random);
      });
    }
  }
}

}  // namespace gemmconv::test
