// SPDX-License-Identifier: MIT
#include "cost.h"

#include <algorithm>
#include <array>

#include "kernel/depthwise_kernels.h"
#include "lines.h"
#include "system/cpu.h"

namespace gemmconv {
namespace {

// Cycles to store one output, by whole vectors or transposed through memory (Zen 4: fits where
// direct and GEMM change places among the 1×1 and 3×3 layers of ResNet-50).
constexpr double kStoreVector = 0.4;
constexpr double kStoreTransposed = 1.2;
// The same where planes fall on the same lines of L1 (4 KB a way: 3×3 32@32 to 256@256, against
// planes a row and a column smaller).
constexpr double kStoreColliding = 2.4;
constexpr std::ptrdiff_t kWayFloats = 1024;

// Multiply-adds of one group that take the others as long as what they leave out of their
// estimates: calls, loads that nobody shares (Zen 4: 3×3, 5×5 and 7×7 with strides 1 and 2, one to
// eight filters a channel at 7 to 112 pixels a side; est./measured of direct and GEMM is from 0.11
// at 7 pixels, stride 2, to 1 at 112). Also that without FMA a multiply-add is two instructions.
constexpr double kMacsLeftOut = 12e3;

// With channels on the lanes. Half cycles: a tap of a vector, which without fused multiply-adds is
// two instructions. (Zen 4: fits 3×3, 5×5 and 7×7 with strides 1 and 2, 24 to 960 channels at 4 to
// 112 pixels a side within 20 %.)
constexpr double kTap = 1.15;
// The same where no load is shared, and the cycles that this adds to an output (found with 7×7,
// stride 2).
constexpr double kTapAlone = 1.9;
constexpr double kAlone = 26.0;

double tile_cost(std::ptrdiff_t rows, std::ptrdiff_t vectors) {
  const double r = static_cast<double>(rows);
  const double v = static_cast<double>(vectors);
  return std::max({r * v, r + v, kChainsInFlight});
}

struct Widths {
  std::ptrdiff_t width, count;
};

// Panels come in at most two widths.
std::array<Widths, 2> widths_of(const Panels& panels) {
  const std::ptrdiff_t n = panels.count();
  const std::ptrdiff_t first = panels[0].width;
  const std::ptrdiff_t last = panels[n - 1].width;
  std::ptrdiff_t of_first = n;
  if (first != last) of_first = panels.vector() == 1 ? panels.extent() - n * last : n - 1;
  return {{{first, of_first}, {last, n - of_first}}};
}

// Share of the taps that lie inside the image, along one axis.
double inside_share(std::ptrdiff_t extent, std::ptrdiff_t out, std::ptrdiff_t taps,
                    std::ptrdiff_t stride, std::ptrdiff_t dilation, std::ptrdiff_t pad) {
  // Only the ends of the axis differ from the middle; 64 taps at 64 places are enough of them.
  constexpr std::ptrdiff_t kMost = 64;
  std::ptrdiff_t outside = 0;
  for (std::ptrdiff_t t = 0; t < std::min(taps, kMost); ++t) {
    for (std::ptrdiff_t i = 0; i < std::min(out, kMost); ++i) {
      const std::ptrdiff_t last = (out - 1 - i) * stride + (taps - 1 - t) * dilation - pad;
      outside += (i * stride + t * dilation - pad < 0) + (last >= extent);
    }
  }
  const double all = static_cast<double>(out) * static_cast<double>(taps);
  return std::max(0.0, 1.0 - static_cast<double>(outside) / all);
}

double far_share_of(double bytes) {
  if (!core_traits().l3_is_far) return 0;
  return std::clamp((bytes / static_cast<double>(cache_sizes().l2) - 1) / 3, 0.0, 1.0);
}

}  // namespace

double step_cost(const Panels& rows, const Panels& lanes) {
  double cost = 0;
  for (const auto& [row_width, row_count] : widths_of(rows)) {
    for (const auto& [lane_width, lane_count] : widths_of(lanes)) {
      cost += tile_cost(row_width, lane_width / lanes.vector()) *
              static_cast<double>(row_count * lane_count);
    }
  }
  return cost;
}

double store_cycles(const Conv2dProblem& p, Lanes lanes) {
  const bool by_vectors = (lanes == Lanes::pixels) == (p.layout == Layout::nchw);
  const bool collide = p.layout == Layout::nchw && p.pixels() % kWayFloats == 0;
  const double transposed = collide ? kStoreColliding : kStoreTransposed;
  return static_cast<double>(p.pixels() * p.group_filters()) *
         (by_vectors ? kStoreVector : transposed);
}

double tensor_bytes(const Conv2dProblem& p) {
  const double image = static_cast<double>(p.channels) * static_cast<double>(p.height * p.width);
  const double output = static_cast<double>(p.out_channels) * static_cast<double>(p.pixels());
  return static_cast<double>(p.batch) * (image + output) * sizeof(float);
}

double far_share(const Conv2dProblem& p) { return far_share_of(tensor_bytes(p)); }

double far_weights(std::ptrdiff_t floats, double line_cycles) {
  return far_share_of(static_cast<double>(floats) * sizeof(float)) * line_cycles *
         static_cast<double>(floats) / kLineFloats;
}

bool leaves_caches(const Conv2dProblem& p) {
  const CacheSizes& cache = cache_sizes();
  const std::size_t most =
      core_traits().l3_is_far ? 2 * cache.l2 : std::max(cache.l2, cache.l3 / 2);
  return tensor_bytes(p) > static_cast<double>(most);
}

double inside_rows(const Conv2dProblem& p) {
  return static_cast<double>(p.kernel_h) *
         inside_share(p.height, p.out_height, p.kernel_h, p.stride_h, p.dilation_h, p.pad_top);
}

double inside_taps(const Conv2dProblem& p) {
  return inside_rows(p) * static_cast<double>(p.kernel_w) *
         inside_share(p.width, p.out_width, p.kernel_w, p.stride_w, p.dilation_w, p.pad_left);
}

double depthwise_channels_cost(const Conv2dPlan& plan, bool shares_loads, double finish_cycles) {
  const double instructions = plan.isa->kernels.fuses ? 1 : 2;
  const double tap = (shares_loads ? kTap : kTapAlone) * instructions;
  const double cycles = finish_cycles + (shares_loads ? 0 : kAlone);
  return inside_taps(plan.problem) * tap +
         cycles * units_a_cycle(plan.isa->kernels.depthwise_channels->lanes);
}

double depthwise_handicap(const Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  const double fused = plan.isa->kernels.fuses ? 1 : 0.5;
  // One group is one call to the others, too (5×5 1->6@28: depthwise 1.1 of direct's time).
  if (p.groups == 1) return fused;
  const double macs = static_cast<double>(p.k() * p.pixels() * p.group_filters());
  return fused * macs / (macs + kMacsLeftOut);
}

}  // namespace gemmconv
