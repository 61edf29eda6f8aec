// SPDX-License-Identifier: MIT
// Packed implicit im2col + GEMM, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "filter.h"
#include "gemm/blocks.h"
#include "gemm/gemm.h"
#include "lines.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// Cycles to move one float of a patch into its panel, and for each run of neighbours in a row of
// outputs that fall into one panel: what is outside the image has to be found, unless all is
// inside, and channels that are neighbours move by blocks (Zen 4, AVX2, by least squares: 216
// layers with windows or steps at 4 to 300 pixels a side, of nchw 0.54 to 0.76 and 13 to 14, of
// nhwc 0.6 to 1.5 and 5 to 9; estimates were off by 16 to 33 %, are by 7 to 13).
struct PackCost {
  double move, run;
};
constexpr PackCost kPackPixels{0.6, 14.0};
constexpr PackCost kPackInside{0.6, 6.0};
constexpr PackCost kPackChannels{1.1, 7.0};
// To wait for a line of weights when it is read first, unless half of L2 holds all of them, by rows
// or by vectors: tiles that ask far ahead do not (the same layers).
constexpr double kWeightsLineOfRows = 1.5, kWeightsLineOfLanes = 2.8;
// And what it adds to the first tile of a panel to read pixels in place and pack them on the way
// (Zen 4, AVX2, 1×1: at 0 512->16@28 and 512->32@28 would come here from direct-channels, 5 to 7 %
// slower; at 0.1 16->16 and 16->32 would leave for direct-pixels, as fast within 3 %; at 0.2
// 8->16@56, 10 % slower).
constexpr double kPackOnTheWay = 0.02;
// AVX-512 in two halves has not been timed packing on the way: what direct-pixels had by less than
// 1 to 3 %, when both were (Zen 4), it keeps.
constexpr double kPackOnTheWayInHalves = 0.3;
// A step then takes so much longer where a panel does not fit L1 beside weights (1×1 from 384 to
// 1024 channels at 14 and 28).
constexpr double kPanelBeyondL1 = 1.035;
// Cycles to call and finish a tile, besides storing its outputs (Zen 4, AVX2: 1×1 layers of 16 to
// 64 channels).
constexpr double kTile = 20.0;
// Of a pixel in nhwc whose last vector of channels is not whole, and goes through memory (1×1
// 8->6@320x240 17 cycles, 1->12 6, 8->12@512 13).
constexpr double kPartVector = 10.0;

// Cycles for a line that comes from far: of weights, on either side; of pixels packed on the way.
constexpr double kFarRows = 8, kFarLanes = 10, kFarPixels = 8;
// Tiles of sums up to so short do not hide that their outputs go far: few filters at a time then
// sweep over many pixels, for the hardware to read ahead of rows of outputs (1×1 nchw, Sapphire
// Rapids, times all filters' over two panels': AVX2 8->64@112 5.0, 24->256@56 2.4, 40->64@112 2.6,
// 64->64@112 1.5; AVX-512 8->256@56 1.8, 16->128@150 3.3, 24->512@80 1.6, 32->128@150 1.4).
constexpr std::ptrdiff_t kSweptSum = 48;
// Of AVX-512, which asks for outputs, those of so short ones; others where more goes far
// (16->64@112 1.0, 24->64@112 0.9).
constexpr std::ptrdiff_t kShortestSum = 16;
constexpr double kSomeFar = 0.2, kMuchFar = 0.5;

class GemmAlgorithm final : public Algorithm {
 public:
  constexpr GemmAlgorithm(Lanes lanes, const char* variant)
      : Algorithm(AlgorithmName::gemm, "gemm", variant), lanes_(lanes) {}

  // Packing writes zeros for padded taps.
  bool can_compute(const Conv2dProblem& p, const Isa&) const override {
    return !p.fragile || !p.is_padded();
  }

  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    plan.lanes = lanes_;
    plan.blocks = block_sizes(*plan.isa->kernels.gemm, lanes_, p.group_filters(), p.k());
    Gemm g = shape_of(plan);
    plan.filter_panels = g.filter_panels().count();
    if (sweeps(p, g)) {
      g.blocks.mc = plan.blocks.mc = 2 * g.kernel->mr;
    } else if (keeps_filters(g)) {
      g.blocks.mc = plan.blocks.mc = plan.filter_panels * g.kernel->mr;
    }
    plan.tile = tile_of(g, p.pixels());
    if (g.packs_to_one_place()) plan.blocks.nc = g.pixel_panels(p.pixels()).stored();
    const std::ptrdiff_t unit = unit_of(plan);
    plan.units = (p.pixels() + unit - 1) / unit;
    plan.units_a_block = std::max<std::ptrdiff_t>(1, plan.blocks.nc / unit);
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const Gemm g = shape_of(plan);
    const Panels filters = g.filter_panels();
    const Panels pixels = g.pixel_panels(p.pixels());
    const double k = static_cast<double>(p.k());
    const std::ptrdiff_t at_once = g.panels_at_once(p.pixels());
    const Panels panels(filters.extent(), filters.max_width() * at_once, filters.vector());
    const bool is_packed = lanes_ == Lanes::pixels || p.pixels() > 1 || !is_pointwise(p);
    const bool has_part = lanes_ == Lanes::channels && p.layout == Layout::nhwc &&
                          p.group_filters() % g.kernel->lanes != 0;
    const double cycles = (is_packed ? k * pack_cycles(p, g, pixels) : 0) +
                          (at_once == 1 ? waits(p, g) : 0) + far_cycles(p, g) +
                          static_cast<double>(panels.count() * pixels.count()) * kTile +
                          (has_part ? static_cast<double>(p.pixels()) * kPartVector : 0);
    const double step =
        lanes_ == Lanes::pixels ? step_cost(filters, pixels) : step_cost(pixels, panels);
    const bool leaves_l1 =
        g.packs_on_the_way() && p.k() * (pixels.max_width() + filters.max_width()) >
                                    static_cast<std::ptrdiff_t>(cache_sizes().l1 / sizeof(float));
    const double steps = k * step * (leaves_l1 ? kPanelBeyondL1 : 1.0);
    return steps + (cycles + store_cycles(p, lanes_)) * units_a_cycle(g.kernel->lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    const Gemm g = shape_of(plan);
    const Panels filters = g.filter_panels();
    const std::ptrdiff_t panels = (filters.count() + plan.filter_parts - 1) / plan.filter_parts;
    const std::ptrdiff_t units = (plan.units + plan.unit_parts - 1) / plan.unit_parts;
    return gemm_scratch(g, std::min(panels * filters.max_width(), filters.stored()),
                        units * unit_of(plan));
  }

  // One K block of channel panels is what the direct kernel reads, too.
  PackedLayout packed_layout(const Conv2dPlan& plan) const override {
    if (lanes_ == Lanes::pixels) return PackedLayout::row_panels;
    return plan.blocks.kc >= plan.problem.k() ? PackedLayout::lane_panels
                                              : PackedLayout::lane_panels_by_k;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * shape_of(plan).filter_panels().stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, shape_of(plan).filter_panels(), plan.blocks.kc, packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    Gemm g = shape_of(plan);
    g.filter_packed = packed_weights(plan, tensors.packed, task.group);
    g.patches = long_patches_of(plan.problem, tensors.input, task.image, task.group);
    g.destination = destination_of(plan, tensors, task.image, task.group);
    const std::ptrdiff_t unit = unit_of(plan);
    const Range pixels{task.units.begin * unit,
                       std::min(task.units.end * unit, plan.problem.pixels())};
    gemm(g, task.filters, pixels, scratch);
  }

 private:
  // A step of k.
  static double pack_cycles(const Conv2dProblem& p, const Gemm& g, const Panels& pixels) {
    const double stored = static_cast<double>(pixels.stored());
    if (g.packs_on_the_way()) {
      return stored * (units_a_cycle(g.kernel->lanes) == 1 ? kPackOnTheWayInHalves : kPackOnTheWay);
    }
    const bool is_one_tap = p.kernel_h * p.kernel_w == 1;
    const PackCost& cost = p.layout == Layout::nhwc       ? kPackChannels
                           : is_one_tap && !p.is_padded() ? kPackInside
                                                          : kPackPixels;
    // Ends of rows cut panels, and those of panels rows; few fall together.
    const std::ptrdiff_t rows = g.pointwise ? 1 : p.out_height;
    return stored * cost.move + static_cast<double>(pixels.count() + rows - 1) * cost.run;
  }

  // For what comes from far, cycles.
  static double far_cycles(const Conv2dProblem& p, const Gemm& g) {
    const std::ptrdiff_t pixels = g.packs_on_the_way() ? p.k() * lines_of(p.pixels()) : 0;
    return far_share(p) * kFarPixels * static_cast<double>(pixels) +
           far_weights(p.k() * g.filter_panels().stored(),
                       g.lanes == Lanes::pixels ? kFarRows : kFarLanes);
  }

  // For weights, cycles.
  static double waits(const Conv2dProblem& p, const Gemm& g) {
    const std::ptrdiff_t floats = p.k() * g.filter_panels().stored();
    const bool fits = static_cast<std::size_t>(floats) * sizeof(float) <= cache_sizes().l2 / 2;
    if (fits || g.kernel->lanes >= 16) return 0;
    return static_cast<double>(floats / kLineFloats) *
           (g.lanes == Lanes::pixels ? kWeightsLineOfRows : kWeightsLineOfLanes);
  }

  // Half of L2 may hold all filters, not a quarter, if then a panel of pixels is needed no longer
  // than until the next is packed: blocks of them come from L3 again for what filters are left (1×1
  // 512->128@28 1.192 -> 1.181 ms, 384->192@56 5.36 -> 5.30).
  static bool keeps_filters(const Gemm& g) {
    const auto room = static_cast<std::ptrdiff_t>(cache_sizes().l2 / 2 / sizeof(float));
    return g.packs_on_the_way() && g.k <= g.blocks.kc &&
           g.m <= room / std::max<std::ptrdiff_t>(g.k, 1);
  }

  static bool sweeps(const Conv2dProblem& p, const Gemm& g) {
    if (!g.packs_on_the_way() || g.k > kSweptSum) return false;
    const bool hides_some = g.kernel->lanes >= 16 && g.k > kShortestSum;
    return far_share(p) > (hides_some ? kMuchFar : kSomeFar);
  }

  static TileShape tile_of(const Gemm& g, std::ptrdiff_t pixels) {
    const auto at_once = static_cast<int>(g.panels_at_once(pixels));
    if (at_once == 1) return {g.kernel->mr, g.kernel->vectors};
    return {static_cast<int>(pixels), at_once * g.kernel->vectors};
  }

  // All but the tensors.
  static Gemm shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    return {plan.isa->kernels.gemm,
            plan.lanes,
            p.group_filters(),
            p.k(),
            plan.blocks,
            is_pointwise(p),
            nullptr,
            long_patches_of(p, nullptr, 0, 0),
            {}};
  }

  // Pixels are cut by whole vectors where they lie on the lanes.
  static std::ptrdiff_t unit_of(const Conv2dPlan& plan) {
    return plan.lanes == Lanes::pixels ? plan.isa->kernels.gemm->lanes : 1;
  }

  Lanes lanes_;
};

constexpr GemmAlgorithm kOnPixels(Lanes::pixels, "gemm-pixels");
constexpr GemmAlgorithm kOnChannels(Lanes::channels, "gemm-channels");

}  // namespace

const Algorithm& gemm_on_pixels = kOnPixels;
const Algorithm& gemm_on_channels = kOnChannels;

}  // namespace gemmconv
