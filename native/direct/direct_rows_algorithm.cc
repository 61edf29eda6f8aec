// SPDX-License-Identifier: MIT
// Direct convolution of short sums with channels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "direct/direct_rows.h"
#include "filter.h"
#include "lines.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// Cycles of a tile beside its multiply-adds, of a float copied, of the ends of a row (Zen 4, 3×3 of
// three channels at 32 to 300 pixels a side, 1×1 of 16 to 256 at 56).
constexpr double kTile = 8.0;
constexpr double kCopied = 0.25;
constexpr double kCutRow = 200.0;
// What a step of windows, which looks up where its pixels lie, takes longer than its multiply-adds
// (AVX2: 2 to 5 %, 3×3 of 16 and 24 channels at 55 to 160).
constexpr double kWindowStep = 1.03;
// Of a pixel whose last vector of channels is not whole, and goes through memory.
constexpr double kPartVector = 30.0;
// And of a line of the image where it comes from memory: it is not asked for ahead here, but is by
// direct-channels (Zen 4, 8 images, 1×1 256->64@56: 12.8 ms here, 10.3 there;
// 64->256@56 10.7, 10.4). Of short pixels the CPU reads ahead by itself (3×3 3->8@1080p with steps
// of two 4.2 ms here, 6.1 there).
constexpr double kFarLine = 12.0;
// Longer sums than this are left to direct-channels: their weights do not stay in L1, and it asks
// for them ahead (Zen 4, AVX2, time over its own, at 28: 1×1 of 128 channels to 64 filters 0.96,
// 256 0.99, 512 1.01; of 256 to 256 filters 1.01, 384 1.03; 3×3 24->64@56 1.02, 36->64 1.03).
constexpr std::ptrdiff_t kLongest = 256;
// Nor must a copy under one row be larger than this: half of Zen 4's L2.
constexpr std::ptrdiff_t kCopyMost = std::ptrdiff_t{1} << 17;

// What plan.way may be.
constexpr int kUsualTiles = 0, kWideTiles = 1;

// Looks at its extents first, of which the product may be any number.
bool has_small_copy(const DirectRows& d) {
  return d.copied_row() <= kCopyMost && d.patches.rows_under(1) <= kCopyMost &&
         d.copied_floats(1) <= kCopyMost;
}

// A quarter of L2 holds a copy.
std::ptrdiff_t rows_held(const DirectRows& d) {
  const auto most = static_cast<std::ptrdiff_t>(cache_sizes().l2 / 4 / sizeof(float));
  if (!has_small_copy(d) || d.patches.height * d.patches.width * d.channels > most) return 0;
  const std::ptrdiff_t one = d.copied_floats(1);
  const std::ptrdiff_t more = d.copied_floats(2) - one;
  return std::clamp<std::ptrdiff_t>(1 + (most - one) / more, 1, d.out_height);
}

// All but the tensors.
DirectRows shape_of(const Conv2dProblem& p, const Isa& isa, int way) {
  const DirectRowsKernel* kernel = isa.kernels.direct_rows;
  DirectRows d{kernel,
               isa.kernels.channel_vectors,
               way == kWideTiles ? kernel->wide : kernel->usual,
               p.out_channels,
               p.channels,
               is_pointwise(p) ? 1 : p.out_height,
               long_patches_of(p, nullptr, 0, 0),
               p.is_padded(),
               0,
               nullptr,
               {}};
  if (d.is_padded) d.rows = rows_held(d);
  return d;
}

DirectRows shape_of(const Conv2dPlan& plan) { return shape_of(plan.problem, *plan.isa, plan.way); }

// Lines of one image, if they come from memory.
double far_lines(const Conv2dProblem& p) {
  const double image = static_cast<double>(p.channels) * static_cast<double>(p.height * p.width);
  return leaves_caches(p) && p.channels >= kLineFloats ? image / static_cast<double>(kLineFloats)
                                                       : 0;
}

// One step of k over a row of tiles.
double row_cost(const DirectRows& d) {
  const bool is_window = d.patches.kernel_h * d.patches.kernel_w > 1;
  return step_cost(d.segments(), d.filter_panels()) * (is_window ? kWindowStep : 1);
}

class DirectRowsAlgorithm final : public Algorithm {
 public:
  constexpr DirectRowsAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-rows") {}

  bool can_compute(const Conv2dProblem& p, const Isa& isa) const override {
    if (p.layout != Layout::nhwc || p.groups != 1 || p.k() == 0 || p.k() > kLongest ||
        (p.fragile && p.is_padded())) {
      return false;
    }
    const DirectRows d = shape_of(p, isa, kUsualTiles);
    return has_direct_rows(d) && (!p.is_padded() || has_small_copy(d));
  }

  void block(Conv2dPlan& plan) const override {
    plan.lanes = Lanes::channels;
    plan.way = kUsualTiles;
    const DirectRows wide = shape_of(plan.problem, *plan.isa, kWideTiles);
    if (has_direct_rows(wide) && row_cost(wide) < row_cost(shape_of(plan))) plan.way = kWideTiles;
    const DirectRows d = shape_of(plan);
    const Panels panels = d.filter_panels();
    plan.blocks = {panels.max_width(), plan.problem.k(), d.segments().widest()};
    plan.filter_panels = panels.count();
    plan.tile = d.tile;
    plan.units = plan.units_a_block = d.tiles();
  }

  double cost(const Conv2dPlan& plan) const override {
    const DirectRows d = shape_of(plan);
    const double tiles = static_cast<double>(d.tiles() * d.filter_panels().count());
    const bool has_parts = d.filters % d.kernel->lanes != 0;
    double cycles =
        tiles * kTile + (has_parts ? kPartVector * static_cast<double>(plan.problem.pixels()) : 0);
    cycles += far_lines(plan.problem) * kFarLine;
    if (d.rows > 0) {
      const std::ptrdiff_t times = (d.out_height + d.rows - 1) / d.rows;
      cycles += static_cast<double>(d.copied_floats(d.rows) * times) * kCopied;
    } else if (d.is_padded) {
      cycles += static_cast<double>(d.out_height) * kCutRow;
    }
    return static_cast<double>(plan.problem.k() * d.out_height) * row_cost(d) +
           cycles * units_a_cycle(d.kernel->lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_rows_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan& plan) const override {
    return plan.way == kWideTiles ? PackedLayout::wide_lane_panels : PackedLayout::lane_panels;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * shape_of(plan).filter_panels().stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, shape_of(plan).filter_panels(), plan.problem.k(), packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DirectRows d = shape_of(plan);
    d.filter_packed = packed_weights(plan, tensors.packed, 0);
    d.patches.image = patches_of(plan.problem, tensors.input, task.image, 0).image;
    d.destination = destination_of(plan, tensors, task.image, 0);
    direct_rows(d, task.filters, task.units, scratch);
  }
};

constexpr DirectRowsAlgorithm kDirectRows;

}  // namespace

const Algorithm& direct_on_rows = kDirectRows;

}  // namespace gemmconv
