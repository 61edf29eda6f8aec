// SPDX-License-Identifier: MIT
// Direct convolution with pixels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "direct/direct_pixels.h"
#include "filter.h"
#include "lines.h"
#include "strip.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// All in cycles of Zen 4. Calling and finishing a tile, besides storing its outputs (1×1
// 24->144@56, both ISAs); finishing an output through memory (ResNeXt's 3×3 at 56, 28 and 14).
constexpr double kTile = 25.0;
constexpr double kFinishInMemory = 0.4;
// Copying one float of the image: neighbours, and every other, by vectors; others one by one; by
// blocks where channels are neighbours (the first layers of ResNet, MobileNet and AlexNet;
// ResNeXt), and where they are whole cache lines (1×1 64->2@256, 64->12@112, 96->24@56).
constexpr double kCopyPixels = 0.6;
constexpr double kCopyChannels = 1.2;
constexpr double kCopyChannelLines = 0.6;
constexpr double kCopyScattered = 3.0;
// A load that crosses a cache line, as all but one of 16 unaligned vectors of 16 lanes do, takes so
// much longer (5×5 1->1@1080p: then depthwise is the faster, as it is).
constexpr double kCrossing = 1.25;
// A step that reads a page of its own takes at least so many cycles, where a tile reads more pages
// than the first level of the TLB holds beside weights and outputs (1×1 layers of ResNet-50 on
// AVX2: 6.9 to 8.8, with 64 of the 72 entries of Zen 4 on; AVX-512's larger tiles hide it).
constexpr double kPageStep = 7.0;
constexpr std::ptrdiff_t kPages = 60, kPageFloats = 1024;
// A row of so many tiles is read in place, but for its ends, where a pixel that is copied has no
// more multiply-adds than this to pay for it (Zen 4, 1080p: 3->3 3×3 12 % faster in place, 4->4 7
// %; 1->16 3 % slower, as pixels in place are not aligned).
constexpr std::ptrdiff_t kWideTiles = 8;
constexpr std::ptrdiff_t kCopyPays = 64;
// The narrowest strip must not be larger than this, in floats (L2 of a small core), at this width.
constexpr std::ptrdiff_t kStripMost = std::ptrdiff_t{1} << 16;
constexpr std::ptrdiff_t kStripWidth = 128;

bool is_one_row(const Conv2dProblem& p) {
  return is_pointwise(p) && (p.layout == Layout::nchw || p.channels == 1);
}

std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t unit) {
  return (value + unit - 1) / unit * unit;
}

bool reads_in_place(const Conv2dProblem& p) {
  return p.stride_w == 1 && p.layout == Layout::nchw &&
         p.kernel_h * p.kernel_w * p.group_filters() <= kCopyPays;
}

class DirectPixelsAlgorithm final : public Algorithm {
 public:
  constexpr DirectPixelsAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-pixels") {}

  bool can_compute(const Conv2dProblem& p) const override {
    if (p.group_channels() == 0 || (p.fragile && p.is_padded())) return false;
    const std::ptrdiff_t width = std::min(p.out_width, kStripWidth);
    return Strip(nullptr, patches_of(p, nullptr, 0, 0), p.group_channels(), 1, width).floats() <=
           kStripMost;
  }

  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectPixelsKernel& kernel = *plan.isa->kernels.direct_pixels;
    const Panels panels{p.group_filters(), kernel.mr, 1};
    const std::ptrdiff_t tile = kernel.vectors[panels[0].width - 1] * kernel.lanes;
    plan.lanes = Lanes::pixels;
    plan.filter_panels = panels.count();
    plan.blocks = {panels[0].width, p.k(), tile};
    if (is_one_row(p)) {
      plan.units = plan.units_a_block = (p.pixels() + tile - 1) / tile;
      return;
    }
    const auto strip = [&](std::ptrdiff_t rows, std::ptrdiff_t columns) {
      return Strip(nullptr, patches_of(p, nullptr, 0, 0), p.group_channels(), rows, columns);
    };
    const std::ptrdiff_t whole = round_up(p.out_width, kernel.lanes);
    const std::ptrdiff_t run =
        (p.out_height - 1) * strip(1, p.out_width).row_stride() + p.out_width;
    const double outputs = static_cast<double>(p.pixels() * p.group_filters());
    const double rows = static_cast<double>(p.out_height) * run_cost(plan, whole);
    const double one_run =
        run_cost(plan, run) + kFinishInMemory * outputs * units_a_cycle(kernel.lanes);
    plan.blocks.nc = one_run < rows ? p.out_width : whole;
    // A quarter of L2 holds the strip, or the rows that are read in place: as many whole rows as
    // fit, or tiles of one row.
    const auto most = static_cast<std::ptrdiff_t>(cache_sizes().l2 / 4 / sizeof(float));
    std::ptrdiff_t held = plan.blocks.nc;
    if (reads_in_place(p) && p.out_width >= kWideTiles * tile) {
      plan.blocks.nc = tile;
    } else {
      while (plan.blocks.nc > tile && strip(1, plan.blocks.nc).floats() > most) {
        plan.blocks.nc = round_up(plan.blocks.nc / 2, tile);
      }
      held = plan.blocks.nc;
    }
    const std::ptrdiff_t one = strip(1, held).floats();
    // On average, as strips come in whole lines.
    constexpr std::ptrdiff_t kSome = 16;
    const std::ptrdiff_t more =
        std::max<std::ptrdiff_t>(1, (strip(1 + kSome, held).floats() - one) / kSome);
    plan.units = p.out_height;
    plan.units_a_block = std::clamp<std::ptrdiff_t>(
        1 + std::max<std::ptrdiff_t>(0, most - one) / more, 1, plan.units);
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectPixels d = shape_of(plan);
    if (d.pointwise)
      return run_cost(plan, p.pixels()) +
             store_cycles(p, plan.lanes) * units_a_cycle(d.kernel->lanes);
    const Strip strip(d.strip, d.patches, d.channels, d.rows, d.columns);
    const std::ptrdiff_t down = (p.out_height + d.rows - 1) / d.rows;
    const std::ptrdiff_t across =
        d.may_read_in_place() ? 2 : (p.out_width + d.columns - 1) / d.columns;
    const double channels = p.group_channels() < kLineFloats ? kCopyChannels : kCopyChannelLines;
    const double move = p.layout == Layout::nhwc && p.channels > 1              ? channels
                        : p.stride_w <= std::min<std::ptrdiff_t>(2, p.kernel_w) ? kCopyPixels
                                                                                : kCopyScattered;
    double cycles = static_cast<double>(down * across * strip.floats()) * move;
    double compute;
    if (d.runs_on()) {
      compute = run_cost(plan, p.out_height * strip.row_stride());
      cycles += kFinishInMemory * static_cast<double>(p.pixels() * p.group_filters());
    } else {
      const double runs = static_cast<double>(p.out_width) / static_cast<double>(d.columns);
      compute = static_cast<double>(p.out_height) * std::max(1.0, runs) * run_cost(plan, d.columns);
    }
    cycles += store_cycles(p, plan.lanes);
    return compute + cycles * units_a_cycle(d.kernel->lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_pixels_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan&) const override {
    return PackedLayout::pixel_row_panels;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * plan.problem.group_filters();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, shape_of(plan).filter_panels(), plan.problem.k(), packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DirectPixels d = shape_of(plan);
    d.filter_packed = packed_weights(plan, tensors.packed, task.group);
    d.patches = patches_of(plan.problem, tensors.input, task.image, task.group);
    if (d.pointwise) d.patches = flattened(d.patches);
    d.destination = destination_of(plan, tensors, task.image, task.group);
    direct_pixels(d, task.filters, task.units, scratch);
  }

 private:
  // All but the tensors.
  static DirectPixels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const bool pointwise = is_one_row(p);
    return {plan.isa->kernels.direct_pixels,
            plan.isa->kernels.strip,
            p.group_filters(),
            p.group_channels(),
            pointwise,
            pointwise ? 1 : plan.units_a_block,
            plan.blocks.nc,
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {}};
  }

  // All panels at a run of neighbouring pixels.
  static double run_cost(const Conv2dPlan& plan, std::ptrdiff_t pixels) {
    const DirectPixelsKernel& kernel = *plan.isa->kernels.direct_pixels;
    const Panels panels{plan.problem.group_filters(), kernel.mr, 1};
    const std::ptrdiff_t vectors = (pixels + kernel.lanes - 1) / kernel.lanes;
    const std::ptrdiff_t most = kernel.vectors[panels[0].width - 1];
    const std::ptrdiff_t tiles = (vectors + most - 1) / most;
    const double r = static_cast<double>(panels.extent()) / static_cast<double>(panels.count());
    const double v = static_cast<double>(vectors) / static_cast<double>(tiles);
    const double load = 1.0 + kCrossing * static_cast<double>(kernel.lanes) / 16.0;
    const std::ptrdiff_t plane = plan.problem.height * plan.problem.width;
    const bool turns_pages = is_one_row(plan.problem) &&
                             std::min(plane, kPageFloats) * plan.problem.k() > kPages * kPageFloats;
    const double pages = turns_pages ? kPageStep * units_a_cycle(kernel.lanes) : 0;
    const double step = std::max({r * v, r + load * v, kChainsInFlight, pages});
    return static_cast<double>(tiles * panels.count()) *
           (static_cast<double>(plan.problem.k()) * step + kTile * units_a_cycle(kernel.lanes));
  }
};

constexpr DirectPixelsAlgorithm kDirectPixels;

}  // namespace

const Algorithm& direct_on_pixels = kDirectPixels;

}  // namespace gemmconv
