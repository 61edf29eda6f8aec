// SPDX-License-Identifier: MIT
// Depthwise convolution, as an algorithm of the plan: one input channel a group. Exact.
#include <algorithm>

#include "algorithm.h"
#include "depthwise.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// A vector of one tap: its multiply-add and its load, which is often unaligned and crosses lines.
constexpr double kTap = 2.0;
// A vector of outputs, besides: finishing, and copying the window at borders.
constexpr double kVector = 12.0;
// Pixels under one output, and steps between outputs, that are worth copying.
constexpr double kReachMost = 1024;
constexpr std::ptrdiff_t kStrideMost = 4;

// One channel in and one out lie the same way in both layouts.
bool pixels_on_lanes(const Conv2dProblem& p) {
  return p.layout == Layout::nchw || (p.channels == 1 && p.out_channels == 1);
}

class DepthwiseAlgorithm final : public Algorithm {
 public:
  constexpr DepthwiseAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-pixels") {}

  bool can_compute(const Conv2dProblem& p) const override {
    if (p.group_channels() != 1 || (p.fragile && p.is_padded())) return false;
    if (!pixels_on_lanes(p) && (p.group_filters() != 1 || p.channels >= 16)) return false;
    // The window of a tile is copied whole: under a huge stride or dilation that is mostly what no
    // tap wants, and scratch without bound.
    if (std::max(p.stride_h, p.stride_w) > kStrideMost) return false;
    const double reach = static_cast<double>((p.kernel_h - 1) * p.dilation_h + 1) *
                         static_cast<double>((p.kernel_w - 1) * p.dilation_w + 1);
    return reach <= kReachMost;
  }

  // One task takes all groups: they lie on the lanes in nhwc, and are what is cut in nchw.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = pixels_on_lanes(p) ? Lanes::pixels : Lanes::channels;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    plan.filters_first = plan.lanes == Lanes::pixels;
    plan.filter_panels =
        plan.lanes == Lanes::pixels ? p.channels : shape_of(plan).channel_panels().count();
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const Depthwise d = shape_of(plan);
    const double taps = static_cast<double>(p.kernel_h * p.kernel_w);
    const double rows = static_cast<double>(p.out_height);
    const std::ptrdiff_t lanes = d.kernel->lanes;
    // Vectors a row of one group's outputs, lanes that are computed for nothing included.
    double vectors = static_cast<double>((p.out_width + lanes - 1) / lanes * p.group_filters());
    if (plan.lanes == Lanes::channels) {
      vectors = static_cast<double>(p.out_width * d.channel_panels().stored()) /
                static_cast<double>(lanes * p.groups);
    }
    return rows * vectors * (taps * kTap + kVector);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return depthwise_scratch(shape_of(plan));
  }

  // Layout 3. What it holds depends on the layout of the image, too, but that is a layer's own.
  int packed_layout(const Conv2dPlan&) const override { return 3; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return depthwise_weights(shape_of(plan));
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_depthwise(shape_of(plan), filter, packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    Depthwise d = shape_of(plan);
    d.filter_packed = packed_weights(plan, tensors.packed, 0);
    d.patches = patches_of(plan.problem, tensors.input, task.image, 0);
    d.destination = destination_of(plan, tensors, task.image, 0);
    depthwise(d, task.filters, task.units, scratch);
  }

 private:
  // All but the tensors.
  static Depthwise shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->depthwise,          plan.lanes, p.channels, p.group_filters(), nullptr,
            patches_of(p, nullptr, 0, 0), {}};
  }
};

constexpr DepthwiseAlgorithm kDepthwise;

}  // namespace

const Algorithm& depthwise_by_rows = kDepthwise;

}  // namespace gemmconv
