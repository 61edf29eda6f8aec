// SPDX-License-Identifier: MIT
// Depthwise convolution of nhwc images, channels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "depthwise/depthwise_repeated.h"
#include "filter.h"
#include "lines.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// A vector of the widest ISA; the kernel has no narrower ones.
constexpr std::ptrdiff_t kLeastChannels = 16;
// Cycles to finish a vector of outputs (Zen 4: found with the constants of depthwise_channels_cost,
// beside some 2600 cycles that any call takes).
constexpr double kVector = 7.0;
// A float of the copy of several filters a channel.
constexpr double kCopied = 0.6;
// More filters a channel than this are broadcast's work; and floats of the least copy, at most.
constexpr std::ptrdiff_t kMultiplierMost = 8;
constexpr double kFloatsOfPixel = 144;
constexpr double kCopyMost = 1 << 18;

// Channels of which a tile's pixels fall on so few lines of L1 that each vector finds them gone,
// and a copy pays (Zen 4 as AVX2: 512@14 0.069 → 0.045 ms, 1024@7 0.057 → 0.025, 256@28 0.106 →
// 0.089; 128@56 0.138 → 0.194). Where a vector is a line, no other wants it again, nor does any
// other window where they lie side by side (2×2, stride 2, 256@28: 0.057 → 0.020 ms).
constexpr std::ptrdiff_t kColliding = 256;

// Taps that are pages apart would fall on one line, too (512@14: 0.120 → 0.069 ms).
std::ptrdiff_t tap_stride(const Conv2dProblem& p) { return odd_lines(p.out_channels); }

bool is_copy_small(const Conv2dProblem& p) {
  const double reach = static_cast<double>((p.kernel_h - 1) * p.dilation_h + 1);
  return std::min(reach, static_cast<double>(p.height)) * static_cast<double>(p.width) *
             kFloatsOfPixel <=
         kCopyMost;
}

bool is_copied(const Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  const bool collides = p.kernel_w > p.stride_w && p.channels % kColliding == 0 &&
                        plan.isa->kernels.depthwise_channels->lanes < kLineFloats &&
                        is_copy_small(p);
  return p.group_filters() > 1 || collides;
}

// Threads take rows, unless there are hardly any: two on the same pixels pull lines out of each
// other's caches (Zen 4, 2 threads, 384@14: 0.0149 → 0.0089 ms).
constexpr std::ptrdiff_t kRowsToCut = 4;

// Whether input and output are more than L2 holds.
bool is_far(const Conv2dProblem& p) {
  return tensor_bytes(p) > static_cast<double>(cache_sizes().l2);
}

class DepthwiseChannelsAlgorithm final : public Algorithm {
 public:
  constexpr DepthwiseChannelsAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-channels") {}

  bool can_compute(const Conv2dProblem& p, const Isa&) const override {
    if (p.layout != Layout::nhwc || p.group_channels() != 1 || p.out_channels < kLeastChannels) {
      return false;
    }
    return p.group_filters() == 1 || (p.group_filters() <= kMultiplierMost && is_copy_small(p));
  }

  // One task takes all groups: they lie on the lanes.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.tile = depthwise_channels_form(shape_of(plan)).tile;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    // A part of the channels holds a vector, too.
    plan.filter_panels = p.out_channels / plan.isa->kernels.depthwise_channels->lanes;
    plan.filters_first = p.out_height < kRowsToCut;
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t lanes = plan.isa->kernels.depthwise_channels->lanes;
    const double vectors = static_cast<double>(p.pixels() * ((p.out_channels + lanes - 1) / lanes));
    const bool shares_loads = depthwise_channels_form(shape_of(plan)).shares_loads;
    const double vector = depthwise_channels_cost(plan, shares_loads, kVector);
    const double copied =
        is_copied(plan) ? static_cast<double>(p.height * p.width * p.out_channels) : 0;
    return (vectors * vector + copied * kCopied * units_a_cycle(lanes)) /
           static_cast<double>(p.groups);
  }

  double handicap(const Conv2dPlan& plan) const override { return depthwise_handicap(plan); }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return is_copied(plan)
               ? depthwise_repeated_scratch({shape_of(plan), plan.problem.group_filters()})
               : 0;
  }

  PackedLayout packed_layout(const Conv2dPlan&) const override { return PackedLayout::taps_lines; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * tap_stride(plan.problem);
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    const std::ptrdiff_t filters = plan.problem.out_channels;
    for (std::ptrdiff_t tap = 0; tap < plan.problem.k(); ++tap) {
      for (std::ptrdiff_t oc = 0; oc < filters; ++oc) {
        packed[tap * tap_stride(plan.problem) + oc] = filter.tap(oc, tap);
      }
    }
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    const Conv2dProblem& p = plan.problem;
    DepthwiseChannels d = shape_of(plan);
    d.weights = packed_weights(plan, tensors.packed, 0);
    d.patches = patches_of(p, tensors.input, task.image, 0);
    d.destination = destination_of(plan, tensors, task.image, 0);
    const bool is_last = task.filters.end == plan.filter_panels;
    const Range filters{task.filters.begin * d.kernel->lanes,
                        is_last ? p.out_channels : task.filters.end * d.kernel->lanes};
    if (is_copied(plan)) {
      depthwise_repeated({d, p.group_filters()}, filters, task.units, scratch);
    } else {
      depthwise_channels(d, filters, task.units);
    }
  }

 private:
  // All but the tensors.
  static DepthwiseChannels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->kernels.depthwise_channels,
            tap_stride(p),
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {},
            !is_copied(plan) && is_far(p),
            // Zen 4, 144@56: where caches might hold it, asking ahead neither helps nor harms.
            !is_copied(plan) && leaves_caches(p)};
  }
};

constexpr DepthwiseChannelsAlgorithm kDepthwiseChannels;

}  // namespace

const Algorithm& depthwise_on_channels = kDepthwiseChannels;

}  // namespace gemmconv
