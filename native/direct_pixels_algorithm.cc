// SPDX-License-Identifier: MIT
// Direct convolution with pixels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "cpu.h"
#include "direct_pixels.h"
#include "filter.h"
#include "strip.h"
#include "views.h"

namespace gemmconv {
namespace {

// Loading a vector of pixels, which most often crosses cache lines.
constexpr double kLoadPixels = 2.0;
// Calling and finishing a tile, besides storing its outputs.
constexpr double kTile = 40.0;
// Copying one float of the image: neighbours by vectors, others one by one, or by blocks of them
// where channels are neighbours.
constexpr double kCopyPixels = 0.6;
constexpr double kCopyChannels = 1.2;
constexpr double kCopyScattered = 2.0;
// The narrowest strip must not be larger than this, in floats (L2 of a small core), at this width.
constexpr std::ptrdiff_t kStripMost = std::ptrdiff_t{1} << 16;
constexpr std::ptrdiff_t kStripWidth = 128;

bool reads_in_place(const Conv2dProblem& p) {
  return is_pointwise(p) && (p.layout == Layout::nchw || p.channels == 1);
}

std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t unit) {
  return (value + unit - 1) / unit * unit;
}

class DirectPixelsAlgorithm final : public Algorithm {
 public:
  constexpr DirectPixelsAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-pixels") {}

  bool can_compute(const Conv2dProblem& p) const override {
    if (p.group_channels() == 0 || (p.fragile && p.is_padded())) return false;
    return Strip(patches_of(p, nullptr, 0, 0), p.group_channels(), 1, kStripWidth).floats() <=
           kStripMost;
  }

  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::pixels;
    const DirectPixelsKernel& kernel = *plan.isa->direct_pixels;
    const Panels panels{p.group_filters(), kernel.mr, 1};
    const std::ptrdiff_t tile = kernel.vectors[panels[0].width - 1] * kernel.lanes;
    plan.filter_panels = panels.count();
    plan.blocks = {panels[0].width, p.k(), tile};
    if (reads_in_place(p)) {
      plan.units = plan.units_a_block = (p.pixels() + tile - 1) / tile;
      return;
    }
    // A quarter of L2 holds the strip: as many whole rows as fit, or tiles of one row.
    const Patches patches = patches_of(p, nullptr, 0, 0);
    const auto most = static_cast<std::ptrdiff_t>(cache_sizes().l2 / 4 / sizeof(float));
    const auto floats = [&](std::ptrdiff_t rows, std::ptrdiff_t columns) {
      return Strip(patches, p.group_channels(), rows, columns).floats();
    };
    plan.blocks.nc = round_up(p.out_width, kernel.lanes);
    while (plan.blocks.nc > tile && floats(1, plan.blocks.nc) > most) {
      plan.blocks.nc = round_up(plan.blocks.nc / 2, tile);
    }
    const std::ptrdiff_t one = floats(1, plan.blocks.nc);
    const std::ptrdiff_t more = floats(2, plan.blocks.nc) - one;
    plan.units = p.out_height;
    plan.units_a_block = std::clamp<std::ptrdiff_t>(1 + (most - one) / more, 1, plan.units);
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectPixels d = shape_of(plan);
    const Panels filters = d.filter_panels();
    const std::ptrdiff_t lanes = d.kernel->lanes;
    const std::ptrdiff_t run = d.in_place ? p.pixels() : std::min(p.out_width, plan.blocks.nc);
    const double runs = static_cast<double>(p.pixels()) / static_cast<double>(run);
    const Panels tiles{(run + lanes - 1) / lanes, d.kernel->vectors[filters[0].width - 1], 1};
    const double rows =
        static_cast<double>(p.group_filters()) / static_cast<double>(filters.count());
    const double vectors = static_cast<double>(tiles.extent()) / static_cast<double>(tiles.count());
    const double step = std::max({rows * vectors, rows + kLoadPixels * vectors, 8.0});
    const double tile = static_cast<double>(p.k()) * step + kTile;
    double copied = 0;
    if (!d.in_place) {
      const double move = p.layout == Layout::nhwc ? kCopyChannels
                          : p.stride_w == 1        ? kCopyPixels
                                                   : kCopyScattered;
      const Strip strip(d.patches, d.channels, d.rows, d.columns);
      const double strips = static_cast<double>((p.out_height + d.rows - 1) / d.rows *
                                                ((p.out_width + d.columns - 1) / d.columns));
      copied = strips * static_cast<double>(strip.floats()) * move;
    }
    return runs * static_cast<double>(tiles.count() * filters.count()) * tile + copied +
           store_cost(p, plan.lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_pixels_scratch(shape_of(plan));
  }

  int packed_layout(const Conv2dPlan&) const override { return 6; }

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
    if (d.in_place) d.patches = flattened(d.patches);
    d.destination = destination_of(plan, tensors, task.image, task.group);
    direct_pixels(d, task.filters, task.units, scratch);
  }

 private:
  // All but the tensors.
  static DirectPixels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const bool in_place = reads_in_place(p);
    return {plan.isa->direct_pixels,
            p.group_filters(),
            p.group_channels(),
            in_place ? 1 : plan.units_a_block,
            plan.blocks.nc,
            in_place,
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {}};
  }
};

constexpr DirectPixelsAlgorithm kDirectPixels;

}  // namespace

const Algorithm& direct_on_pixels = kDirectPixels;

}  // namespace gemmconv
