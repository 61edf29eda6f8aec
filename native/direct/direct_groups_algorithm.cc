// SPDX-License-Identifier: MIT
// Direct convolution in groups of which a vector holds several, or one, as an algorithm of the
// plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "direct/direct_groups.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// A multiply-add, which shares its ports with a third to two thirds of a permutation; and cycles: a
// pixel copied, a tile besides. (Zen 4: fits 3×3 with strides 1 and 2, 2 to 16 channels a group, 24
// to 1024 in all at 7 to 112 pixels a side, within 15 %, on AVX2 but for 7 within 25 %.)
constexpr double kStep = 1.05;
constexpr double kCopied = 7.0;
constexpr double kTile = 40.0;

class DirectGroupsAlgorithm final : public Algorithm {
 public:
  constexpr DirectGroupsAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-groups") {}

  bool can_compute(const Conv2dProblem& p, const Isa& isa) const override {
    const DirectGroupsKernel& kernel = *isa.kernels.direct_groups;
    const std::ptrdiff_t channels = p.group_channels();
    return kernel.pixels > 0 && p.layout == Layout::nhwc && channels > 1 &&
           channels == p.group_filters() && kernel.lanes % channels == 0 &&
           p.channels >= kernel.lanes && has_direct_groups(patches_of(p, nullptr, 0, 0));
  }

  // One task takes all groups: they lie on the lanes.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.tile = {plan.isa->kernels.direct_groups->pixels, 1};
    plan.blocks = {lanes(plan), p.k(), p.pixels()};
    plan.group_tasks = 1;
    // The last part of the filters takes what is less than a vector, too.
    plan.filter_panels = p.out_channels / lanes(plan);
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectGroups d = shape_of(plan);
    const DirectGroupsWork row = direct_groups_row(d);
    const double rows = static_cast<double>(vectors(plan) * p.out_height);
    const double steps = inside_taps(p) * static_cast<double>(p.group_channels() * p.out_width) +
                         static_cast<double>(row.in_vain * p.group_channels() * p.kernel_h);
    const double copied = static_cast<double>(row.columns * row.new_rows);
    const double cycles = copied * kCopied + static_cast<double>(row.tiles) * kTile;
    return rows * (steps * kStep + cycles * units_a_cycle(lanes(plan))) /
           static_cast<double>(p.groups);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_groups_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan&) const override {
    return PackedLayout::group_vectors;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return vectors(plan) * plan.problem.k() * lanes(plan);
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    const Panels panel(lanes(plan), lanes(plan), lanes(plan));
    for (std::ptrdiff_t v = 0; v < vectors(plan); ++v) {
      FilterView view = filter;
      view.data +=
          std::min(v * lanes(plan), plan.problem.out_channels - lanes(plan)) * view.oc_stride;
      pack_filter(view, panel, plan.problem.k(), packed + v * plan.problem.k() * lanes(plan));
    }
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DirectGroups d = shape_of(plan);
    d.weights = packed_weights(plan, tensors.packed, 0);
    d.patches = patches_of(plan.problem, tensors.input, task.image, 0);
    d.destination = destination_of(plan, tensors, task.image, 0);
    const bool is_last = task.filters.end == plan.filter_panels;
    direct_groups(d, {task.filters.begin, is_last ? vectors(plan) : task.filters.end}, task.units,
                  scratch);
  }

 private:
  static std::ptrdiff_t lanes(const Conv2dPlan& plan) {
    return plan.isa->kernels.direct_groups->lanes;
  }
  // The last ends where the filters do, and overlaps the one before it.
  static std::ptrdiff_t vectors(const Conv2dPlan& plan) {
    return (plan.problem.out_channels + lanes(plan) - 1) / lanes(plan);
  }
  // All but the tensors.
  static DirectGroups shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->kernels.direct_groups,
            plan.isa->kernels.channel_vectors,
            p.channels,
            p.group_channels(),
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {}};
  }
};

constexpr DirectGroupsAlgorithm kDirectGroups;

}  // namespace

const Algorithm& direct_on_groups = kDirectGroups;

}  // namespace gemmconv
