// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "algorithm.h"
#include "check.h"
#include "conv2d.h"
#include "filter.h"

namespace gemmconv::test {
namespace {

static_assert(std::is_trivially_copyable_v<Conv2dPlan>, "plans are kept as bytes");

Conv2dProblem square(std::ptrdiff_t batch, std::ptrdiff_t channels, std::ptrdiff_t extent,
                     std::ptrdiff_t filters, std::ptrdiff_t taps, Layout layout = Layout::nchw) {
  Conv2dProblem p{};
  p.batch = batch;
  p.channels = channels;
  p.height = p.width = p.out_height = p.out_width = extent;
  p.out_channels = filters;
  p.kernel_h = p.kernel_w = taps;
  p.groups = p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1;
  p.pad_top = p.pad_left = taps / 2;
  p.layout = layout;
  p.epilogue = {Activation::none, -std::numeric_limits<float>::infinity(),
                std::numeric_limits<float>::infinity()};
  return p;
}

Conv2dPlan plan_of(const Conv2dProblem& problem, int threads = 2) {
  return *make_plan(problem, current_isa(), threads);
}

Conv2dProblem with(Conv2dProblem problem, AlgorithmName algorithm) {
  problem.algorithm = algorithm;
  return problem;
}

// All variants that can compute a layer's small and large images, whoever would choose them.
void check_packed(Suite& suite, const Isa& isa, std::ptrdiff_t channels, std::ptrdiff_t groups,
                  std::ptrdiff_t taps, Layout layout, Random& random) {
  // As many filters as channels where they must be; otherwise some, and the last panel is ragged.
  const std::ptrdiff_t filters = groups > 1 ? channels : std::min<std::ptrdiff_t>(channels, 100);
  std::vector<float> filter(static_cast<std::size_t>(filters * channels / groups * taps * taps));
  for (float& weight : filter) weight = random.real();
  std::map<int, std::vector<float>> known;
  for (const Algorithm* algorithm : algorithms()) {
    for (const std::ptrdiff_t extent : {1, 7, 60}) {
      Conv2dProblem p = with(square(2, channels, extent, filters, taps, layout), algorithm->name());
      p.groups = groups;
      use_variant(algorithm->variant());
      const std::optional<Conv2dPlan> plan = make_plan(p, isa, 1);
      use_variant("");
      if (!plan) continue;
      std::vector<float> packed(packed_bytes(*plan) / sizeof(float));
      pack(*plan, filter.data(), nullptr, packed.data());
      const auto [same, is_first] = known.try_emplace(packed_format(*plan), packed);
      suite.check(is_first || same->second == packed, algorithm->variant());
    }
  }
}

// Every variant's, of small and large layers.
void check_tiles(Suite& suite, const Isa& isa) {
  const GemmKernel& gemm = *isa.kernels.gemm;
  const int registers = gemm.mr * gemm.vectors < 16 ? 16 : 32;
  for (const Algorithm* algorithm : algorithms()) {
    use_variant(algorithm->variant());
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      for (const std::ptrdiff_t groups : {1, 4, 32}) {
        for (const std::ptrdiff_t taps : {1, 3, 5, 7}) {
          for (const std::ptrdiff_t extent : {1, 14, 200}) {
            Conv2dProblem p = with(square(1, 32, extent, 32, taps, layout), algorithm->name());
            p.groups = groups;
            const std::optional<Conv2dPlan> plan = make_plan(p, isa, 1);
            if (!plan) continue;
            const TileShape tile = plan->tile;
            suite.check(tile.mr > 0 && tile.vectors > 0 && tile.mr * tile.vectors < registers,
                        algorithm->variant());
          }
        }
      }
    }
    use_variant("");
  }
}

void tile_tests(Suite& suite) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    suite.test(std::string("a plan's tile fits the registers of ") + isa.name,
               [&] { check_tiles(suite, isa); });
  }
  suite.test("a plan's tile is that of its own kernel", [&] {
    for (int i = 0; i < isa_count(); ++i) {
      const Isa& isa = isa_at(i);
      const auto tile_of = [&](const Conv2dProblem& p) { return make_plan(p, isa, 1)->tile; };
      const TileShape gemm = tile_of(with(square(1, 64, 28, 64, 3), AlgorithmName::gemm));
      suite.check(gemm.mr == isa.kernels.gemm->mr && gemm.vectors == isa.kernels.gemm->vectors,
                  "gemm");
      Conv2dProblem depthwise = with(square(1, 64, 28, 64, 3), AlgorithmName::depthwise);
      depthwise.groups = 64;
      suite.check(tile_of(depthwise).mr == 3, "outputs under a row of the image");
      Conv2dProblem few = with(square(1, 512, 1, 512, 1, Layout::nhwc), AlgorithmName::gemm);
      suite.check(tile_of(few).mr == 1, "one pixel");
    }
  });
}

void choice_tests(Suite& suite) {
  suite.test("a forced algorithm is the one planned", [&] {
    const Conv2dProblem p = square(1, 16, 20, 16, 3);
    for (const AlgorithmName algorithm : {AlgorithmName::gemm, AlgorithmName::direct}) {
      suite.check(plan_of(with(p, algorithm)).algorithm->name() == algorithm, "another algorithm");
    }
  });
  suite.test("what must skip padding does not go through packed zeros", [&] {
    Conv2dProblem p = square(1, 16, 20, 16, 3);
    p.fragile = true;
    suite.check(plan_of(p).algorithm->name() == AlgorithmName::direct, "chose to multiply by zero");
    suite.check(!make_plan(with(p, AlgorithmName::gemm), current_isa(), 1), "forced to");
    p.pad_top = p.pad_left = 0;
    p.out_height = p.out_width = 18;
    suite.check(make_plan(with(p, AlgorithmName::gemm), current_isa(), 1).has_value(),
                "refused without padding");
  });
  suite.test("small depthwise layers are depthwise's, for others leave out more of theirs", [&] {
    Conv2dProblem p = square(1, 8, 7, 32, 3);
    p.groups = 8;
    for (int i = 0; i < isa_count(); ++i) {
      const Isa& isa = isa_at(i);
      suite.check(make_plan(p, isa, 1)->algorithm->name() == AlgorithmName::depthwise, isa.name);
    }
  });
  suite.test("plans of a layer with one packed format read the same floats", [&] {
    Random random(6);
    for (int i = 0; i < isa_count(); ++i) {  // packing needs none of their instructions
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        for (const std::ptrdiff_t channels : {3, 9, 48, 640}) {
          for (const std::ptrdiff_t taps : {1, 3}) {
            check_packed(suite, isa_at(i), channels, 1, taps, layout, random);
            check_packed(suite, isa_at(i), channels, channels, taps, layout, random);
          }
        }
      }
    }
  });
}

void estimate_tests(Suite& suite) {
  suite.test(
      "an estimate grows with the work, shrinks with threads, and is there for everything", [&] {
        for (const AlgorithmName algorithm : {AlgorithmName::automatic, AlgorithmName::gemm,
                                              AlgorithmName::direct, AlgorithmName::winograd}) {
          const auto cycles = [&](std::ptrdiff_t batch, int threads) {
            return plan_of(with(square(batch, 64, 28, 64, 3), algorithm), threads)
                .estimated_cycles();
          };
          suite.check(std::abs(cycles(4, 1) / cycles(1, 1) - 4) < 0.5, "four images");
          suite.check(cycles(4, 2) < 0.6 * cycles(4, 1), "two threads");
          suite.check(cycles(0, 1) == 0, "no image");
        }
        // Too inaccurate for `auto`.
        const double forced =
            plan_of(with(square(1, 1, 28, 1, 3), AlgorithmName::winograd)).estimated_cycles();
        suite.check(forced > 0 && std::isfinite(forced), "winograd by name");
      });
  suite.test("a depthwise layer's estimate is of all its groups", [&] {
    Conv2dProblem p = square(1, 64, 28, 64, 3);
    p.groups = 64;
    const double few = plan_of(p, 1).estimated_cycles();
    p.channels = p.out_channels = p.groups = 128;
    suite.check(std::abs(plan_of(p, 1).estimated_cycles() / few - 2) < 0.2, "twice the groups");
  });
}

void cutting_tests(Suite& suite) {
  suite.test("threads side by side do not write the same cache lines", [&] {
    Conv2dProblem p = square(1, 128, 56, 128, 3, Layout::nhwc);
    p.groups = 32;
    for (const int threads : {2, 3, 8}) {
      suite.check(plan_of(p, threads).unit_parts >= threads, "neighbouring groups of one pixel");
    }
  });
  suite.test("tiny work stays on one thread, large work is cut evenly", [&] {
    suite.check(plan_of(square(1, 1, 1, 1, 1), 8).threads == 1, "woke a thread for one pixel");
    for (const AlgorithmName algorithm : {AlgorithmName::gemm, AlgorithmName::direct}) {
      for (const std::ptrdiff_t extent : {56, 28, 14, 7}) {
        const Conv2dPlan plan =
            plan_of(with(square(1, 3584 / extent, extent, 3584 / extent, 3), algorithm));
        suite.check(plan.threads == 2, "one thread");
        suite.check(plan.tasks() % 2 == 0 || plan.tasks() > 20, "uneven tasks");
      }
    }
  });
  suite.test("three planes are not cut two to one", [&] {
    Conv2dProblem p = square(1, 3, 200, 3, 3);
    p.groups = 3;
    const Conv2dPlan plan = plan_of(with(p, AlgorithmName::depthwise));
    suite.check(plan.filter_parts == 1 && plan.unit_parts == 2, "by planes");
  });
  suite.test("there are no more parts than there is to cut", [&] {
    Random random(4);
    for (int i = 0; i < 500; ++i) {
      const Conv2dProblem p = square(
          1 + random.below(3), 1 + random.below(40), 1 + random.below(60), 1 + random.below(100),
          1 + 2 * random.below(3), random.below(2) == 1 ? Layout::nchw : Layout::nhwc);
      const Conv2dPlan plan = plan_of(p, 1 + static_cast<int>(random.below(9)));
      suite.check(plan.unit_parts >= 1 && plan.unit_parts <= plan.units, "unit parts");
      suite.check(plan.filter_parts >= 1 && plan.filter_parts <= plan.filter_panels,
                  "filter parts");
    }
  });
  suite.test("extents beyond 32 bits are planned without overflow", [&] {
    Conv2dProblem p = square(1, 1, 1, 1, 1);
    p.width = p.out_width = (std::ptrdiff_t{1} << 31) + 16;
    const Conv2dPlan plan = plan_of(p);
    suite.check(plan.flops() == 2.0 * static_cast<double>(p.width), "flops");
    suite.check(plan.workspace_bytes() < std::size_t{16} << 20, "workspace");
  });
}

void group_tests(Suite& suite) {
  suite.test("nhwc groups that a vector holds several of share it", [&] {
    for (const std::ptrdiff_t channels : {2, 4, 8}) {
      Conv2dProblem p = square(1, 128, 28, 128, 3, Layout::nhwc);
      p.groups = 128 / channels;
      const Conv2dPlan plan = plan_of(p);
      const bool exists = plan.isa->kernels.direct_groups->pixels > 0;
      suite.check((plan.algorithm == &direct_on_groups) == exists, plan.variant_label());
    }
  });
}

void row_tests(Suite& suite) {
  suite.test("nhwc images of few channels take many tiles a call", [&] {
    for (const std::ptrdiff_t extent : {32, 224}) {
      const Conv2dPlan plan = plan_of(square(1, 3, extent, 64, 3, Layout::nhwc));
      const bool exists = plan.isa->kernels.direct_rows->usual.mr > 0;
      suite.check((plan.algorithm == &direct_on_rows) == exists, plan.variant_label());
    }
  });
}

void workspace_tests(Suite& suite) {
  suite.test("workspace depends on blocks and threads, not on the image", [&] {
    const auto bytes = [](std::ptrdiff_t extent) {
      return plan_of(with(square(1, 64, extent, 64, 3), AlgorithmName::gemm)).workspace_bytes();
    };
    suite.check(bytes(4096) <= 16u << 20, "over 16 MiB");
    suite.check(bytes(4096) <= bytes(512) * 11 / 10, "grows with the image");
  });
  suite.test("nor do bands of transposed depthwise images", [&] {
    use_variant("depthwise-transposed");
    for (const std::ptrdiff_t width : {1, 64, 1000}) {
      Conv2dProblem p = square(1, 64, width, 64, 3);
      p.groups = 64;
      p.height = p.out_height = std::ptrdiff_t{1} << 40;
      suite.check(plan_of(p).workspace_bytes() < std::size_t{1} << 20, "grows with the image");
    }
    use_variant("");
  });
  suite.test("a huge stride, window or channel count does not make a huge workspace", [&] {
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      for (const std::ptrdiff_t stride : {1, 2, 4, 5, 1000}) {
        for (const std::ptrdiff_t taps : {3, 31, 1001}) {
          Conv2dProblem p = square(1, 64, 5000, 64, taps, layout);
          p.groups = 64;
          p.stride_h = p.stride_w = stride;
          p.out_height = p.out_width = 4999 / stride + 1;
          suite.check(plan_of(p).workspace_bytes() < std::size_t{16} << 20, "depthwise");
        }
      }
      const Conv2dProblem deep = square(1, 100000, 64, 64, 3, layout);
      suite.check(plan_of(deep).workspace_bytes() < std::size_t{64} << 20, "many channels");
    }
  });
  suite.test("nor does huge padding", [&] {
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      for (const std::ptrdiff_t stride : {1, 2, 3}) {
        for (const std::ptrdiff_t channels : {1, 3, 64}) {
          Conv2dProblem p = square(1, channels, 2, channels, 3, layout);
          p.groups = channels;
          p.stride_w = stride;
          p.out_width = std::ptrdiff_t{1} << 36;
          for (const std::ptrdiff_t left : {std::ptrdiff_t{0}, p.out_width / 2, p.out_width}) {
            p.pad_left = left * stride;
            const Conv2dPlan plan = plan_of(with(p, AlgorithmName::depthwise));
            suite.check(plan.workspace_bytes() < std::size_t{1} << 20, "depthwise");
            Conv2dProblem flat = with(p, AlgorithmName::depthwise);
            flat.kernel_h = 1;
            flat.dilation_h = std::ptrdiff_t{1} << 35;
            suite.check(plan_of(flat).estimated_cycles() > 0, "dilated, without overflow");
          }
        }
      }
    }
  });
}

}  // namespace

void plan_tests(Suite& suite) {
  tile_tests(suite);
  choice_tests(suite);
  estimate_tests(suite);
  cutting_tests(suite);
  group_tests(suite);
  row_tests(suite);
  workspace_tests(suite);
}

}  // namespace gemmconv::test
