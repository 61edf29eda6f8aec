// SPDX-License-Identifier: MIT
// Depthwise convolution of nhwc images, channels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "cpu.h"
#include "depthwise_channels.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// A vector of the widest ISA; the kernel has no narrower ones.
constexpr std::ptrdiff_t kLeastChannels = 16;
// Half cycles: a tap of a vector, which without fused multiply-adds is two instructions. Cycles:
// finishing a vector of outputs. (Zen 4: fits 3×3, 5×5 and 7×7 with strides 1 and 2, 24 to 960
// channels at 4 to 112 pixels a side within 20 %, beside some 2600 cycles that any call takes.)
constexpr double kTap = 1.15;
constexpr double kVector = 7.0;
// The same where no pixel is shared, and what that adds to an output (found with 7×7, stride 2).
constexpr double kTapOfAny = 1.9;
constexpr double kAny = 26.0;

// Threads take rows, unless there are hardly any: two on the same pixels pull lines out of each
// other's caches (Zen 4, 2 threads, 384@14: 0.0149 → 0.0089 ms).
constexpr std::ptrdiff_t kRowsToCut = 4;

// Whether input and output are more than the last cache keeps (Zen 4, 144@56: with half of L3 in
// use asking ahead neither helps nor harms).
bool is_streamed(const Conv2dProblem& p) {
  const double floats = static_cast<double>(p.batch * p.channels) *
                        static_cast<double>(p.height * p.width + p.pixels());
  const CacheSizes& cache = cache_sizes();
  return floats * sizeof(float) > static_cast<double>(std::max(cache.l2, cache.l3 / 2));
}

class DepthwiseChannelsAlgorithm final : public Algorithm {
 public:
  constexpr DepthwiseChannelsAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-channels") {}

  bool can_compute(const Conv2dProblem& p) const override {
    return p.layout == Layout::nhwc && p.group_channels() == 1 && p.group_filters() == 1 &&
           p.channels >= kLeastChannels;
  }

  // One task takes all groups: they lie on the lanes.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    // A part of the channels holds a vector, too.
    plan.filter_panels = p.channels / plan.isa->depthwise_channels->lanes;
    plan.filters_first = p.out_height < kRowsToCut;
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t lanes = plan.isa->depthwise_channels->lanes;
    const double vectors = static_cast<double>(p.pixels() * ((p.channels + lanes - 1) / lanes));
    const bool share = depthwise_channels_share({plan.isa->depthwise_channels,
                                                 p.channels,
                                                 nullptr,
                                                 patches_of(p, nullptr, 0, 0),
                                                 {},
                                                 false});
    const double instructions = plan.isa->winograd->fuses ? 1 : 2;
    const double cycles = kVector + (share ? 0 : kAny);
    const double units = inside_taps(p) * (share ? kTap : kTapOfAny) * instructions;
    return vectors * (units + cycles * units_a_cycle(lanes)) / static_cast<double>(p.groups);
  }

  double handicap(const Conv2dPlan& plan) const override { return depthwise_handicap(plan); }

  std::ptrdiff_t scratch(const Conv2dPlan&) const override { return 0; }

  // Layout 4: taps × channels.
  int packed_layout(const Conv2dPlan&) const override { return 4; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * plan.problem.channels;
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    const std::ptrdiff_t channels = plan.problem.channels;
    for (std::ptrdiff_t tap = 0; tap < plan.problem.k(); ++tap) {
      const float* of_tap = filter.data + tap / filter.kernel_w * filter.kh_stride +
                            tap % filter.kernel_w * filter.kw_stride;
      for (std::ptrdiff_t c = 0; c < channels; ++c) {
        packed[tap * channels + c] = of_tap[c * filter.oc_stride];
      }
    }
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float*) const noexcept override {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t lanes = plan.isa->depthwise_channels->lanes;
    const bool is_last = task.filters.end == plan.filter_panels;
    depthwise_channels(
        {plan.isa->depthwise_channels, p.channels, packed_weights(plan, tensors.packed, 0),
         patches_of(p, tensors.input, task.image, 0), destination_of(plan, tensors, task.image, 0),
         is_streamed(p)},
        {task.filters.begin * lanes, is_last ? p.channels : task.filters.end * lanes}, task.units);
  }
};

constexpr DepthwiseChannelsAlgorithm kDepthwiseChannels;

}  // namespace

const Algorithm& depthwise_on_channels = kDepthwiseChannels;

}  // namespace gemmconv
