// SPDX-License-Identifier: MIT
// Depthwise convolution of nchw images with channels on the lanes, as an algorithm of the plan.
// Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "depthwise/depthwise_transposed.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// Cycles: a panel; a vector of channels of a pixel transposed on the way there, and finished and
// transposed on the way back. (Zen 4: fits 3×3, 5×5 and 7×7 with strides 1 and 2 at 4 to 112 pixels
// a side within 12 %, but for 4 × 4 ones, which are cheaper than that with 16 lanes.)
constexpr double kPanel = 420;
constexpr double kRead = 4.9;
constexpr double kWritten = 11.5;
// Pixels of a row of outputs and of what lies under it, which a band holds at least.
constexpr double kBandMost = 4096;

class DepthwiseTransposedAlgorithm final : public Algorithm {
 public:
  constexpr DepthwiseTransposedAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-transposed") {}

  bool can_compute(const Conv2dProblem& p, const Isa&) const override {
    if (p.layout != Layout::nchw || p.group_channels() != 1) return false;
    const double rows = static_cast<double>((p.kernel_h - 1) * p.dilation_h + 1);
    return std::min(rows, static_cast<double>(p.height)) * static_cast<double>(p.width) +
               static_cast<double>(p.out_width) <=
           kBandMost;
  }

  // One task takes all groups: they lie on the lanes.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.tile = depthwise_transposed_form(shape_of(plan)).tile;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    plan.filters_first = true;
    plan.filter_panels = panels(plan);
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const bool shares_loads = depthwise_transposed_form(shape_of(plan)).shares_loads;
    const double vector = depthwise_channels_cost(plan, shares_loads, kWritten);
    const double read = static_cast<double>(p.height * p.width) * kRead + kPanel;
    const double panel = static_cast<double>(p.pixels() * p.group_filters()) * vector +
                         read * units_a_cycle(lanes(plan));
    return panel * static_cast<double>(panels(plan)) / static_cast<double>(p.groups);
  }

  double handicap(const Conv2dPlan& plan) const override { return depthwise_handicap(plan); }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return depthwise_transposed_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan&) const override {
    return PackedLayout::channels_vectors;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    return panels(plan) * p.group_filters() * p.k() * lanes(plan);
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    const Conv2dProblem& p = plan.problem;
    std::fill_n(packed, packed_floats(plan), 0.0f);
    for (std::ptrdiff_t oc = 0; oc < p.out_channels; ++oc) {
      const std::ptrdiff_t channel = oc / p.group_filters();
      const std::ptrdiff_t vector =
          channel / lanes(plan) * p.group_filters() + oc % p.group_filters();
      for (std::ptrdiff_t tap = 0; tap < p.k(); ++tap) {
        packed[(vector * p.k() + tap) * lanes(plan) + channel % lanes(plan)] = filter.tap(oc, tap);
      }
    }
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DepthwiseTransposed d = shape_of(plan);
    d.weights = packed_weights(plan, tensors.packed, 0);
    d.patches = patches_of(plan.problem, tensors.input, task.image, 0);
    d.destination = destination_of(plan, tensors, task.image, 0);
    depthwise_transposed(d, task.filters, task.units, scratch);
  }

 private:
  static std::ptrdiff_t lanes(const Conv2dPlan& plan) {
    return plan.isa->kernels.depthwise_channels->lanes;
  }
  static std::ptrdiff_t panels(const Conv2dPlan& plan) {
    return (plan.problem.channels + lanes(plan) - 1) / lanes(plan);
  }
  // All but the tensors.
  static DepthwiseTransposed shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->kernels.depthwise_channels,
            plan.isa->kernels.channel_vectors,
            p.channels,
            p.group_filters(),
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {}};
  }
};

constexpr DepthwiseTransposedAlgorithm kDepthwiseTransposed;

}  // namespace

const Algorithm& depthwise_transposing = kDepthwiseTransposed;

}  // namespace gemmconv
