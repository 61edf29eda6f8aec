// SPDX-License-Identifier: MIT
// Depthwise convolution with pixels on the lanes, as an algorithm of the plan: of nchw images, and
// of nhwc ones with few channels. Exact.
#include <algorithm>
#include <cmath>

#include "algorithm.h"
#include "cost.h"
#include "depthwise/depthwise_pixels.h"
#include "depthwise/depthwise_planes.h"
#include "filter.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// Cycles: a plane, a run of vectors along some rows; of a 3×3 or 5×5 window's run a column, for
// which its weights are loaded, and a tap of a vector, loads included. (Zen 4: fits 3×3 and 5×5 at
// 7 to 112 pixels a side within 13 %; other windows, of which vectors of 16 lanes mostly cross
// cache lines, 7×7 at 4 to 112, 10 to 15 % standard deviation.)
constexpr double kPlane = 45;
constexpr double kRun = 43;
constexpr std::ptrdiff_t kRunsOfRow = 3;  // a border, what lies inside, a border
constexpr double kColumn = 10, kWeightOfColumn = 3;
constexpr double kSquareTap = 0.72, kWideSquareTap = 1.15;
constexpr double kTap = 1.15, kWideTap = 1.85;
// The same where no row shares loads (found with 7×7, stride 2), and a vector of the copy.
constexpr double kTapOfRow = 5.0;
constexpr double kCopiedVector = 12.0;
// A row of the first plane of an image, and of the last: one of its vectors would read beyond the
// image, and is computed from a copy (1->8 3×3@28, 1->2 to 1->6 5×5@28, 1->4 5×5@64).
constexpr double kOutsideRow = 35;
// Of 3×3 and 5×5 planes that one call computes: vectors that go down a plane side by side, a weight
// of a plane each time, a tap of a vector with steps of one and of two, and to pick every other
// pixel of a row. (Zen 4: fits both with strides 1 and 2 at 4 to 112 pixels a side within 15 %.)
constexpr double kPlaneColumn = 7, kPlaneWeight = 1;
struct PlaneCycles {
  double tap, tap_by_two, pick;
};
constexpr PlaneCycles kWidePlane{1.07, 1.13, 4.4};
constexpr PlaneCycles kMiddlingPlane{0.70, 0.86, 4.5};
constexpr PlaneCycles kNarrowPlane{0.83, 1.47, 1.1};
// A vector of the first plane of a padded image and of the last, which are computed from a copy,
// once for each filter (5×5@28, 1->6 against 6->6: some 200 cycles a plane on AVX2).
constexpr double kVectorOfPlane = 2;
// Pixels under one output, and steps between outputs, that are worth copying.
constexpr double kReachMost = 1024;
constexpr std::ptrdiff_t kStrideMost = 4;
// Channels of an nhwc image that are fewer than a vector of the widest ISA: more lie on the lanes.
constexpr std::ptrdiff_t kFewChannels = 16;

// One channel in and one out lie the same way in both layouts.
bool is_planar(const Conv2dProblem& p) {
  return p.layout == Layout::nchw || (p.channels == 1 && p.out_channels == 1);
}

// Whether so little of the output would be left in the last cache that it had better not go there:
// a line that is stored to is read from memory first. (Zen 4, 32 MB, input and output alike, 3×3
// and a layer that reads its output at once, together: 33 MB 1.9 -> 2.3 ms, 41 MB 2.51 -> 2.49, 50
// MB 3.7 -> 3.5, 60 MB 4.9 -> 4.3; medians gain from 25 MB on.)
constexpr double kCachesStreamed = 1.25;
// And where L3 is far (Sapphire Rapids, L2 of 2 MB: 3×3 32@112, 6.4 MB 0.94 times as fast; four
// images 1.07; 5×5 1@1080p, 16.6 MB, 3.1).
constexpr double kFarStreamed = 6;

bool is_streamed(const Conv2dProblem& p) {
  const CacheSizes& cache = cache_sizes();
  if (core_traits().l3_is_far && tensor_bytes(p) > kFarStreamed * static_cast<double>(cache.l2))
    return true;
  const auto last = static_cast<double>(cache.l3);
  return last > 0 && tensor_bytes(p) > kCachesStreamed * last;
}

class DepthwisePixelsAlgorithm final : public Algorithm {
 public:
  constexpr DepthwisePixelsAlgorithm()
      : Algorithm(AlgorithmName::depthwise, "depthwise", "depthwise-pixels") {}

  bool can_compute(const Conv2dProblem& p, const Isa&) const override {
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
    const DepthwisePixels d = shape_of(plan);
    plan.tile = can_compute_planes(d) ? depthwise_planes_form(d, p.out_height).tile
                                      : depthwise_pixels_form(d).tile;
    plan.blocks = {p.out_channels, p.k(), p.pixels()};
    plan.group_tasks = 1;
    plan.filters_first = is_planar(p);
    plan.filter_panels = is_planar(p) ? p.channels : 1;
    plan.units = plan.units_a_block = p.out_height;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DepthwisePixels d = shape_of(plan);
    if (can_compute_planes(d)) {
      return plane_cycles(d, p) * units_a_cycle(d.planes->lanes) *
             static_cast<double>(p.group_filters());
    }
    const DepthwisePixelsForm form = depthwise_pixels_form(d);
    const std::ptrdiff_t tiles = (p.out_height + form.rows - 1) / form.rows;
    const double runs =
        static_cast<double>(tiles) * static_cast<double>(std::min(form.vectors, kRunsOfRow));
    const auto taps = static_cast<double>(p.kernel_h * p.kernel_w);
    const double columns =
        form.is_square ? static_cast<double>(tiles) * static_cast<double>(form.vectors) : 0;
    const double vectors = rows(p, form, tiles) * static_cast<double>(form.vectors);
    const double copied =
        static_cast<double>(p.out_height) * form.copied / static_cast<double>(d.kernel->lanes);
    const double outside =
        p.is_padded() && d.interleaved == 1
            ? 2 * kOutsideRow * static_cast<double>(p.out_height) / static_cast<double>(p.channels)
            : 0;
    const double cycles =
        kPlane + outside + runs * kRun + columns * (kColumn + taps * kWeightOfColumn) +
        vectors * vector_cycles(taps, form, is_wide(d.kernel->lanes)) + copied * kCopiedVector;
    return cycles * units_a_cycle(d.kernel->lanes) * static_cast<double>(p.group_filters()) /
           static_cast<double>(d.interleaved);
  }

  double handicap(const Conv2dPlan& plan) const override { return depthwise_handicap(plan); }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return depthwise_pixels_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan& plan) const override {
    return is_planar(plan.problem) ? PackedLayout::filters_taps : PackedLayout::taps_filters;
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
        packed[oc * filter_stride + tap * tap_stride] = filter.tap(oc, tap);
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
  // Whose multiply-adds take longer.
  static bool is_wide(std::ptrdiff_t lanes) { return lanes >= 16 && units_a_cycle(lanes) == 1; }

  static double plane_cycles(const DepthwisePixels& d, const Conv2dProblem& p) {
    const DepthwisePlanesForm form = depthwise_planes_form(d, p.out_height);
    const PlaneCycles& cycles = is_wide(form.lanes) ? kWidePlane
                                : form.lanes >= 8   ? kMiddlingPlane
                                                    : kNarrowPlane;
    const auto taps = static_cast<double>(p.kernel_h * p.kernel_w);
    const double vector =
        p.stride_w == 1 ? taps * cycles.tap : taps * cycles.tap_by_two + cycles.pick;
    const double steps = form.beside == 1 ? form.vectors : std::ceil(form.vectors / 2);
    const double columns = steps * static_cast<double>(form.tiles);
    // Where tiles meet, half a window's rows above and below are computed in vain.
    const double rows = static_cast<double>(p.out_height) / static_cast<double>(form.tiles) +
                        static_cast<double>((form.tiles > 1 ? p.kernel_h - 1 : 0) / p.stride_h);
    const double down = kPlaneColumn + rows * static_cast<double>(form.beside) * vector;
    const std::ptrdiff_t planes = p.is_padded() ? std::min(p.channels, std::ptrdiff_t{2}) : 0;
    const auto copied = static_cast<double>(planes * p.height * p.width / form.lanes);
    return columns * (taps * kPlaneWeight + down / static_cast<double>(form.planes)) +
           copied * kVectorOfPlane / static_cast<double>(p.channels);
  }
  static double vector_cycles(double taps, const DepthwisePixelsForm& form, bool is_wide) {
    if (form.is_square) return taps * (is_wide ? kWideSquareTap : kSquareTap);
    if (form.rows > 1) return taps * (is_wide ? kWideTap : kTap);
    return taps * kTapOfRow;
  }
  // Of outputs, with what is computed in vain: where runs of a square window meet, those of half a
  // window above and below; of other windows, half of the rows that the last tile lacks.
  static double rows(const Conv2dProblem& p, const DepthwisePixelsForm& form,
                     std::ptrdiff_t tiles) {
    if (form.is_square) {
      return static_cast<double>(p.out_height + (tiles - 1) * (p.kernel_h - 1) / p.stride_h);
    }
    return static_cast<double>(p.out_height + tiles * form.rows) / 2;
  }
  // All but the tensors.
  static DepthwisePixels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->kernels.depthwise_pixels,
            plan.isa->kernels.depthwise_planes,
            plan.isa->kernels.strip,
            is_planar(p) ? 1 : p.channels,
            p.channels,
            p.group_filters(),
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {},
            is_streamed(p)};
  }
};

constexpr DepthwisePixelsAlgorithm kDepthwisePixels;

}  // namespace

const Algorithm& depthwise_on_pixels = kDepthwisePixels;

}  // namespace gemmconv
