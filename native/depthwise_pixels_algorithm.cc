// SPDX-License-Identifier: MIT
// Depthwise convolution with pixels on the lanes, as an algorithm of the plan: of nchw images, and
// of nhwc ones with few channels. Exact.
#include <algorithm>

#include "algorithm.h"
#include "depthwise_pixels.h"
#include "filter.h"
#include "views.h"

namespace gemmconv {
namespace {

// A vector of one tap, loads included, in a run of many rows or of one, and finishing a vector of
// outputs (Zen 4: 5×5 1080p takes 79 a vector, 3×3 144@56 50).
constexpr double kTap = 2.4;
constexpr double kTapOfRow = 5.0;
constexpr double kVector = 10.0;
// A vector of the copy, where there is one.
constexpr double kCopiedVector = 12.0;
// The other algorithms' estimates leave out what a call costs, and loads that nobody shares, beside
// so little work as one or two filters a group are: they take two to five times as long as they say
// (Zen 4: direct at 5×5 1080p and at 3×3 960@7). With more filters to a channel they are right.
constexpr std::ptrdiff_t kFewFilters = 2;
constexpr double kAgainstOthers = 0.4;
// Pixels under one output, and steps between outputs, that are worth copying.
constexpr double kReachMost = 1024;
constexpr std::ptrdiff_t kStrideMost = 4;
// Channels of an nhwc image that are fewer than a vector of the widest ISA: more lie on the lanes.
constexpr std::ptrdiff_t kFewChannels = 16;

// One channel in and one out lie the same way in both layouts.
bool is_planar(const Conv2dProblem& p) {
  return p.layout == Layout::nchw || (p.channels == 1 && p.out_channels == 1);
}

class DepthwisePixelsAlgorithm final : public Algorithm {
 public:
  constexpr DepthwisePixelsAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-pixels") {}

  bool can_compute(const Conv2dProblem& p) const override {
    if (p.group_channels() != 1 || (p.fragile && p.is_padded())) return false;
    if (!is_planar(p) && (p.group_filters() != 1 || p.channels >= kFewChannels)) return false;
    // What is copied of the image under a huge stride or window is mostly what no tap wants, and
    // takes scratch without bound.
    if (std::max(p.stride_h, p.stride_w) > kStrideMost) return false;
    const double reach = static_cast<double>((p.kernel_h - 1) * p.dilation_h + 1) *
                         static_cast<double>((p.kernel_w - 1) * p.dilation_w + 1);
    return reach <= kReachMost;
  }

  // One task takes all groups: they lie on the lanes in nhwc, and are what is cut in nchw.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::pixels;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    plan.filters_first = is_planar(p);
    plan.filter_panels = is_planar(p) ? p.channels : 1;
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t lanes = plan.isa->depthwise_pixels->lanes;
    const double taps = static_cast<double>(p.kernel_h * p.kernel_w);
    const std::ptrdiff_t interleaved = is_planar(p) ? 1 : p.channels;
    const auto vectors_of = [&](std::ptrdiff_t width) {
      return static_cast<double>((width * interleaved + lanes - 1) / lanes) /
             static_cast<double>(interleaved);
    };
    const bool is_3x3 = p.kernel_h == 3 && p.kernel_w == 3;
    const bool shares_rows = is_3x3 || (p.stride_h == 1 && p.kernel_h > 3);
    const bool copies = p.stride_w > 1 && !(is_3x3 && p.stride_w == 2 && p.dilation_w == 1);
    const double of_vector = taps * (shares_rows ? kTap : kTapOfRow) + kVector;
    const double copied = copies ? static_cast<double>(p.height) * vectors_of(p.width) : 0;
    return static_cast<double>(p.out_height * p.group_filters()) * vectors_of(p.out_width) *
               of_vector +
           copied * kCopiedVector;
  }

  double handicap(const Conv2dPlan& plan) const override {
    return plan.problem.group_filters() <= kFewFilters ? kAgainstOthers : 1;
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return depthwise_pixels_scratch(shape_of(plan));
  }

  // Layout 3, filters × taps; or 4, taps × filters.
  int packed_layout(const Conv2dPlan& plan) const override {
    return is_planar(plan.problem) ? 3 : 4;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * plan.problem.out_channels;
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t filter_stride = is_planar(p) ? p.k() : 1;
    const std::ptrdiff_t tap_stride = is_planar(p) ? 1 : p.out_channels;
    for (std::ptrdiff_t oc = 0; oc < p.out_channels; ++oc) {
      for (std::ptrdiff_t tap = 0; tap < p.k(); ++tap) {
        packed[oc * filter_stride + tap * tap_stride] =
            filter.data[oc * filter.oc_stride + tap / p.kernel_w * filter.kh_stride +
                        tap % p.kernel_w * filter.kw_stride];
      }
    }
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DepthwisePixels d = shape_of(plan);
    d.weights = packed_weights(plan, tensors.packed, 0);
    d.patches = patches_of(plan.problem, tensors.input, task.image, 0);
    d.destination = destination_of(plan, tensors, task.image, 0);
    depthwise_pixels(d, task.filters, task.units, scratch);
  }

 private:
  // All but the tensors.
  static DepthwisePixels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->depthwise_pixels, plan.isa->strip, is_planar(p) ? 1 : p.channels, p.channels,
            p.group_filters(),          nullptr,         patches_of(p, nullptr, 0, 0),  {}};
  }
};

constexpr DepthwisePixelsAlgorithm kDepthwisePixels;

}  // namespace

const Algorithm& depthwise_on_pixels = kDepthwisePixels;

}  // namespace gemmconv
