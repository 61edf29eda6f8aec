// SPDX-License-Identifier: MIT
// Winograd convolution, as an algorithm of the plan: F(4×4, 3×3), or F(2×2, 3×3). Not exact.
#include <algorithm>
#include <cmath>

#include "algorithm.h"
#include "cost.h"
#include "filter.h"
#include "views.h"
#include "winograd.h"

namespace gemmconv {
namespace {

// Fewer channels than this leave F(4×4) with more than twice the rounding error of a direct sum
// (2.14 at 16, 1.8 at 64), and the transforms with more work than they save.
constexpr std::ptrdiff_t kFewestChannels = 32;
// More than this, and a block of tiles no longer fits any cache.
constexpr std::ptrdiff_t kMostChannels = 4096;
// Transforming one float of input or output, for each frequency of its tile (Zen 4, 64@56: 28 % of
// the time at 72 % for the products).
constexpr double kTransform = 0.6;
// Streaming one float of U from beyond L2.
constexpr double kStream = 0.5;
// Below this many tiles a thread, threads divide the filters instead: dividing the tiles makes each
// thread stream all of U.
constexpr std::ptrdiff_t kTilesAThread = 28;

class WinogradAlgorithm final : public Algorithm {
 public:
  constexpr WinogradAlgorithm(bool f4, const char* variant)
      : Algorithm(AlgorithmName::winograd, "winograd", variant), f4_(f4) {}

  bool is_exact() const override { return false; }

  // A weight that is not finite would spread over all frequencies. Under more padding than 1 an
  // output may have hardly a tap of its own, and then no error relative to its sum is small.
  bool can_compute(const Conv2dProblem& p) const override {
    return p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 &&
           p.dilation_h == 1 && p.dilation_w == 1 && !p.fragile && p.pad_top <= 1 &&
           p.pad_left <= 1 && p.out_height <= p.height && p.out_width <= p.width &&
           p.group_channels() >= kFewestChannels && p.group_channels() <= kMostChannels &&
           p.group_filters() >= kFewestChannels;
  }

  // All images are one run of tiles.
  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = Lanes::channels;
    plan.image_tasks = 1;
    plan.units = tiles_of(plan);
    plan.units_a_block =
        winograd_block_tiles(*plan.isa->winograd, transforms(plan), p.group_channels());
    plan.blocks = {p.group_filters(), p.group_channels(), plan.units_a_block};
    plan.filter_panels = panels_of(plan).count();
    plan.filters_first = plan.units < 2 * kTilesAThread;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const double frequencies = static_cast<double>(transforms(plan).side * transforms(plan).side);
    const double tiles =
        static_cast<double>(plan.units) / static_cast<double>(std::max<std::ptrdiff_t>(p.batch, 1));
    const double channels = static_cast<double>(p.group_channels());
    const double filters = static_cast<double>(p.group_filters());
    const double blocks =
        std::ceil(static_cast<double>(plan.units) / static_cast<double>(plan.units_a_block));
    const Panels rows(std::max<std::ptrdiff_t>(plan.units, 1), plan.isa->winograd->mr, 1);
    const double images = static_cast<double>(std::max<std::ptrdiff_t>(p.batch, 1));
    const double products = frequencies * channels * step_cost(rows, panels_of(plan)) / images;
    return products + kTransform * frequencies * tiles * (channels + filters) +
           kStream * frequencies * channels * filters * blocks / images;
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return winograd_scratch(shape_of(plan));
  }

  // Layouts 4 and 5.
  int packed_layout(const Conv2dPlan&) const override { return f4_ ? 4 : 5; }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    const int side = transforms(plan).side;
    return side * side * plan.problem.group_channels() * panels_of(plan).stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    winograd_pack(filter, panels_of(plan), transforms(plan), packed);
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
  const WinogradTransforms& transforms(const Conv2dPlan& plan) const {
    return f4_ ? plan.isa->winograd->f4 : plan.isa->winograd->f2;
  }

  static Panels panels_of(const Conv2dPlan& plan) {
    const WinogradKernel& kernel = *plan.isa->winograd;
    return {plan.problem.group_filters(), kernel.lanes * kernel.vectors, kernel.lanes};
  }

  std::ptrdiff_t tiles_of(const Conv2dPlan& plan) const {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t tile = transforms(plan).tile;
    return p.batch * ((p.out_height + tile - 1) / tile) * ((p.out_width + tile - 1) / tile);
  }

  // All but the tensors.
  Winograd shape_of(const Conv2dPlan& plan) const {
    const Conv2dProblem& p = plan.problem;
    Winograd w{};
    w.kernel = plan.isa->winograd;
    w.transforms = &transforms(plan);
    w.filters = p.group_filters();
    w.channels = p.group_channels();
    w.patches = patches_of(p, nullptr, 0, 0);
    w.out_height = p.out_height;
    w.batch = p.batch;
    w.image_stride = p.channels * p.height * p.width;
    w.destination_stride = p.out_channels * p.pixels();
    w.block_tiles = winograd_block_tiles(*w.kernel, *w.transforms, w.channels);
    return w;
  }

  bool f4_;
};

constexpr WinogradAlgorithm kF4(true, "winograd-f4");
constexpr WinogradAlgorithm kF2(false, "winograd-f2");

}  // namespace

const Algorithm& winograd_f4 = kF4;
const Algorithm& winograd_f2 = kF2;

}  // namespace gemmconv
