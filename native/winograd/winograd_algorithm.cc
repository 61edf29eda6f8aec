// SPDX-License-Identifier: MIT
// Winograd convolution, as an algorithm of the plan: F(4×4, 3×3), F(2×2, 3×3) or F(2×2, 5×5). Not
// exact.
#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithm.h"
#include "cost.h"
#include "filter.h"
#include "views.h"
#include "winograd/winograd.h"

namespace gemmconv {
namespace {

// Beyond this a span is longer than most rows; and strips should stay bounded.
constexpr std::ptrdiff_t kMostDilation = 16;
// More than this, and a block of tiles no longer fits any cache.
constexpr std::ptrdiff_t kMostChannels = 4096;
// Transforming a vector of inputs, or of outputs, for each frequency of its tile, with what it
// takes to read and write them (Zen 4; AVX2 by least squares, with what a tile of products takes:
// 3×3 layers of 3 to 1024 channels on 3² to 320² pixels, 126 by F(2), off by 19 %, now 8, 106 by
// F(4), 6 %; 5×5 of 8 to 256 channels on 7² to 112², -3 to 8 %. AVX-512, with it: F(4) 6.9
// and 13.6; F(2) 11 on 14², 14 on 56², 16 on 112²).
struct TransformCost {
  double input, output;
};
// Cycles of a tile of products besides its multiply-adds, to call it and to store sums.
constexpr double kProductsTile = 40;
// Reading a vector of U for a block of tiles, where it comes from L3 (Zen 4, 512@7 and 512@14).
constexpr double kStream = 1;
// And cycles more for a line of it that comes from far (Sapphire Rapids: 512@7, 256@14,
// 192->256@8).
constexpr double kFarLine = 5;
// Below this many tiles a thread, threads divide the filters instead: dividing the tiles makes each
// thread stream all of U.
constexpr std::ptrdiff_t kTilesAThread = 28;
// The least error that counts as inaccurate, in units of a direct sum's.
constexpr double kMostError = 2;

// Squared, in units of a direct sum's: what the sums err by, and what the transforms do, with and
// without fused multiply-adds; of those the sum over the channels has fewer (winograd_error_test.cc
// measures it).
struct SquaredError {
  double sums, transforms, transforms_unfused;
};

// What one F(tile, taps) has of its own.
struct Form {
  const char* variant;
  WinogradTransforms WinogradKernel::* transforms;
  PackedLayout layout;
  TransformCost cost;
  SquaredError error;
};
constexpr Form kForms[] = {
    {"winograd-f2", &WinogradKernel::f2, PackedLayout::winograd_f2, {7, 7}, {0.25, 5, 5}},
    {"winograd-f4", &WinogradKernel::f4, PackedLayout::winograd_f4, {9, 9}, {1.3, 36, 52}},
    {"winograd-f2-5x5",
     &WinogradKernel::f2_5x5,
     PackedLayout::winograd_f2_5x5,
     {8, 5},
     {0.65, 20, 28}},
};

// Mean over the outputs along an axis of the squared share of the taps inside the image.
double inside_squared(std::ptrdiff_t taps, std::ptrdiff_t extent, std::ptrdiff_t out,
                      std::ptrdiff_t dilation, std::ptrdiff_t pad) {
  std::ptrdiff_t pairs = 0;  // of taps that are both inside
  for (std::ptrdiff_t s = 0; s < taps; ++s) {
    for (std::ptrdiff_t t = 0; t < taps; ++t) {
      const std::ptrdiff_t begin = std::max<std::ptrdiff_t>(0, pad - std::min(s, t) * dilation);
      const std::ptrdiff_t end = std::min(out, extent + pad - std::max(s, t) * dilation);
      pairs += std::max<std::ptrdiff_t>(0, end - begin);
    }
  }
  return static_cast<double>(pairs) / static_cast<double>(taps * taps * out);
}

class WinogradAlgorithm final : public Algorithm {
 public:
  explicit constexpr WinogradAlgorithm(const Form& form)
      : Algorithm(AlgorithmName::winograd, "winograd", form.variant), form_(form) {}

  bool is_exact() const override { return false; }

  // A weight that is not finite would spread over all frequencies.
  bool can_compute(const Conv2dProblem& p, const Isa& isa) const override {
    const int taps = transforms(isa).taps;
    return p.kernel_h == taps && p.kernel_w == taps && p.stride_h == 1 && p.stride_w == 1 &&
           std::max(p.dilation_h, p.dilation_w) <= kMostDilation && !p.fragile &&
           p.group_channels() >= 1 && p.group_channels() <= kMostChannels;
  }

  // All images are one run of tiles.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.tile = {plan.isa->kernels.winograd->mr, plan.isa->kernels.winograd->vectors};
    plan.image_tasks = 1;
    const Winograd w = shape_of(plan);
    plan.units = w.spans();
    plan.units_a_block = w.block_spans;
    plan.blocks = {p.group_filters(), p.group_channels(), plan.units_a_block};
    plan.filter_panels = panels_of(plan).count();
    plan.filters_first = plan.units * p.dilation_w < 2 * kTilesAThread;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const WinogradKernel& kernel = *plan.isa->kernels.winograd;
    const double images = static_cast<double>(std::max<std::ptrdiff_t>(p.batch, 1));
    const double blocks =
        std::ceil(static_cast<double>(plan.units) / static_cast<double>(plan.units_a_block));
    const std::ptrdiff_t tiles = std::max<std::ptrdiff_t>(plan.units * p.dilation_w, 1);
    const Panels rows(tiles, kernel.mr, 1);
    const Panels filters = panels_of(plan);
    const double channels = static_cast<double>(p.group_channels());
    const double input_vectors = std::ceil(channels / kernel.lanes);
    const double output_vectors =
        static_cast<double>(filters.stored()) / static_cast<double>(kernel.lanes);
    const double products =
        channels * step_cost(rows, filters) + static_cast<double>(rows.count() * filters.count()) *
                                                  kProductsTile * units_a_cycle(kernel.lanes);
    // With 16 lanes cycles, which most of it takes to read and write.
    const double wide = kernel.lanes >= 16 ? units_a_cycle(kernel.lanes) : 1;
    const double transforming =
        wide * static_cast<double>(tiles) *
        (form_.cost.input * input_vectors + form_.cost.output * output_vectors);
    const double stream = kStream * blocks * channels * output_vectors;
    const double far =
        blocks * far_weights(packed_floats(plan), kFarLine) * units_a_cycle(kernel.lanes);
    return (static_cast<double>(frequencies(plan)) * (products + transforming + stream) + far) /
           images;
  }

  // Where it would be inaccurate, only who asks for it by name gets it.
  double handicap(const Conv2dPlan& plan) const override {
    return error(plan) > kMostError ? std::numeric_limits<double>::infinity() : 1;
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return winograd_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan&) const override { return form_.layout; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return frequencies(plan) * plan.problem.group_channels() * panels_of(plan).stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    winograd_pack(filter, panels_of(plan), transforms(*plan.isa), packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    Winograd w = shape_of(plan);
    w.filter_packed = packed_weights(plan, tensors.packed, task.group);
    w.patches = patches_of(plan.problem, tensors.input, 0, task.group);
    w.destination = destination_of(plan, tensors, 0, task.group);
    winograd(w, task.filters, task.units, scratch);
  }

 private:
  // The rms error on N(0, 1) inputs over that of the direct chain of fused multiply-adds, estimated
  // a little high. It counts for more where outputs at borders have few taps, so that a direct sum
  // errs less.
  double error(const Conv2dPlan& plan) const {
    const Conv2dProblem& p = plan.problem;
    const double channels = static_cast<double>(std::max<std::ptrdiff_t>(p.group_channels(), 1));
    const SquaredError& error = form_.error;
    const double squared =
        error.sums +
        (plan.isa->kernels.fuses ? error.transforms : error.transforms_unfused) / channels;
    const double inside =
        inside_squared(p.kernel_h, p.height, p.out_height, p.dilation_h, p.pad_top) *
        inside_squared(p.kernel_w, p.width, p.out_width, p.dilation_w, p.pad_left);
    return std::sqrt(squared / inside);
  }

  std::ptrdiff_t frequencies(const Conv2dPlan& plan) const {
    const std::ptrdiff_t side = transforms(*plan.isa).side;
    return side * side;
  }

  const WinogradTransforms& transforms(const Isa& isa) const {
    return isa.kernels.winograd->*form_.transforms;
  }

  static Panels panels_of(const Conv2dPlan& plan) {
    const WinogradKernel& kernel = *plan.isa->kernels.winograd;
    return {plan.problem.group_filters(), kernel.lanes * kernel.vectors, kernel.lanes};
  }

  // All but the tensors.
  Winograd shape_of(const Conv2dPlan& plan) const {
    const Conv2dProblem& p = plan.problem;
    Winograd w{};
    w.kernel = plan.isa->kernels.winograd;
    w.vectors = plan.isa->kernels.channel_vectors;
    w.transforms = &transforms(*plan.isa);
    w.filters = p.group_filters();
    w.channels = p.group_channels();
    w.patches = patches_of(p, nullptr, 0, 0);
    w.out_height = p.out_height;
    w.batch = p.batch;
    w.image_stride = p.channels * p.height * p.width;
    w.destination_stride = p.out_channels * p.pixels();
    w.block_spans = winograd_block_spans(*w.kernel, *w.transforms, w.channels, p.dilation_w);
    return w;
  }

  const Form& form_;
};

constexpr WinogradAlgorithm kF2(kForms[0]);
constexpr WinogradAlgorithm kF4(kForms[1]);
constexpr WinogradAlgorithm kF2Of5x5(kForms[2]);

}  // namespace

const Algorithm& winograd_f2 = kF2;
const Algorithm& winograd_f4 = kF4;
const Algorithm& winograd_f2_5x5 = kF2Of5x5;

}  // namespace gemmconv
