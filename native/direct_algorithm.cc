// SPDX-License-Identifier: MIT
// Direct convolution, as an algorithm of the plan. Exact; does every problem.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "cpu.h"
#include "direct.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// Next to a border each pixel of a tile is tested before its tap is taken (Zen 4, 5×5 64@28).
constexpr double kBorderTap = 1.08;

class DirectAlgorithm final : public Algorithm {
 public:
  constexpr DirectAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-channels") {}

  bool can_compute(const Conv2dProblem&) const override { return true; }

  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    const Panels panels = panels_of(plan);
    const std::ptrdiff_t k = std::max<std::ptrdiff_t>(p.k(), 1);
    // Half of L2 for the weights of a block of panels, the rest for the image rows under them.
    const auto l2_floats = static_cast<std::ptrdiff_t>(cache_sizes().l2 / sizeof(float));
    const std::ptrdiff_t panels_a_block =
        std::clamp<std::ptrdiff_t>(l2_floats / 2 / (k * panels.max_width()), 1, panels.count());
    plan.blocks = {panels_a_block * panels.max_width(), k, p.pixels()};
    plan.filter_panels = panels.count();
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const Panels segments(p.out_width, plan.isa->direct->mr, 1);
    const double rows =
        static_cast<double>(p.out_height) *
        inside_share(p.height, p.out_height, p.kernel_h, p.stride_h, p.dilation_h, p.pad_top);
    const double at_border =
        p.pad_left > 0 ? std::min(1.0, 2.0 / static_cast<double>(segments.count())) : 0.0;
    const double border = 1.0 + (kBorderTap - 1.0) * at_border;
    return static_cast<double>(p.k()) * rows * step_cost(segments, panels_of(plan)) * border +
           store_cost(p, plan.lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_scratch(plan.problem.kernel_w);
  }

  int packed_layout(const Conv2dPlan&) const override { return 1; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * panels_of(plan).stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, panels_of(plan), plan.blocks.kc, packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    const Conv2dProblem& p = plan.problem;
    const Direct taps{plan.isa->direct,
                      p.group_filters(),
                      p.group_channels(),
                      plan.blocks.mc / panels_of(plan).max_width(),
                      packed_weights(plan, tensors.packed, task.group),
                      patches_of(p, tensors.input, task.image, task.group),
                      destination_of(plan, tensors, task.image, task.group)};
    direct(taps, task.filters, task.units, scratch);
  }

 private:
  static Panels panels_of(const Conv2dPlan& plan) {
    const DirectKernel& kernel = *plan.isa->direct;
    return {plan.problem.group_filters(), kernel.lanes * kernel.vectors, kernel.lanes};
  }
};

constexpr DirectAlgorithm kDirect;

}  // namespace

const Algorithm& direct_on_channels = kDirect;

}  // namespace gemmconv
