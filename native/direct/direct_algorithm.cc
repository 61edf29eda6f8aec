// SPDX-License-Identifier: MIT
// Direct convolution, as an algorithm of the plan. Exact; does every problem.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "direct/direct.h"
#include "direct/direct_window.h"
#include "filter.h"
#include "lines.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// Cycles to call and finish a tile, besides storing its outputs: of whole vectors, or transposed
// (Zen 4, layers of few channels).
constexpr double kTile = 30.0;
constexpr double kTransposedTile = 60.0;
// Cycles more for a pixel whose last vector of channels is not whole (Zen 4, nhwc: 1×1 32->8@128,
// 64->12@112, 96->24@56; ResNeXt's 3×3 of 4 and 8 channels a group).
constexpr double kPartVector = 10.0;
// Cycles to copy a line of pixels that would push each other out of L1 (Zen 4; ResNeXt's 3×3 at 14
// and 7 of nhwc: 10 each, 16 where it comes from L3).
constexpr double kCopyLine = 10.0;
// Wide tiles are for sums of so many steps: shorter ones overlap with the next tile's anyway (AVX2,
// Zen 4: 1×1 16->40@14 is 5 % faster without, 64->40@14 3 % slower).
constexpr std::ptrdiff_t kLongSum = 48;
// What a step of wide tiles takes longer than its multiply-adds, with no register to spare (AVX2,
// Zen 4: 1 to 5 %, 3×3 and 1×1 layers of 3 to 28 pixels a row).
constexpr double kWide = 1.03;
// And of usual tiles of no more pixels than wide ones have: two vectors of these are just as many
// chains as multiply-adds can be under way, and what comes late is not made up for (AVX2, Zen 4,
// time of wide tiles over theirs, 8 pixels a row: 1×3 384@8 0.85, 3×3 64->192@8 0.88).
constexpr double kFewChains = 1.1;
// Cycles after which the next line of weights is there when the first tile of a panel reads it
// (AVX2, Zen 4, whose tiles want one every 6: 5 to 7 more, 1×1 layers of 320 to 1152 channels at 7
// and 14, nchw), unless all weights are in L1. A 1×1 filter in nhwc, whose tiles ask for next to
// nothing, does not wait (960->160@7 to 1024->2048@14, stride 2: 0.80 to 0.98 of gemm's time).
constexpr double kWeightsLine = 12.0;
// The same of a 1×1 filter where L2 holds the image, the panel at hand and the next with room to
// spare (nchw: 384->64@14 114 µs, gemm 116; 384->256@10 231, 239; 768->256@7 229, 236; but of 5/8
// of L2 on, 768->128@20 917, 898; 2048->512@7 1321, 1212); and of windows, of which each line
// serves several (3×3 with steps of two 256->512@14 waits 0 to 3 more, 448->384@8 5).
constexpr double kWeightsLineAlone = 10.5, kMostOfL2 = 0.625;
constexpr double kWeightsLineOfWindow = 9.0;
// Cycles of a row of taps besides these: three of one call are written out, others a loop (AVX2,
// Zen 4: 3×3 at 14 to 26 0.9 to 1; 2×2, 4×4, 1×3 and 1×7 with and without steps of two 2 to 4).
constexpr double kRowOfThree = 0.8, kRowOfAny = 2.5;
// Where the channels of an nchw image are whole pages apart, a step of a tile takes at least so
// many cycles: their lines push each other out of L1 (AVX2, Zen 4: 11 to 13, 1×1 layers of 64 to
// 512 channels of 32 to 256 pixels a side; AVX-512's larger tiles hide it).
constexpr double kCollidingStep = 11.5;
constexpr std::ptrdiff_t kCollidingChannels = 16, kPageFloats = 1024;

// Cycles for what comes from far: a line of weights; nhwc: a line of outputs that nobody has asked
// for; nchw: a row of outputs of a tile, where so many filters take turns that nothing reads ahead
// of them, and a row of pixels of a 1×1 filter.
constexpr double kFarWeights = 20, kFarPixel = 12, kFarOutput = 150, kFarInput = 100;
constexpr std::ptrdiff_t kManyFilters = 128;

// What a step of groups of one vector takes longer than its multiply-adds, of which two start a
// cycle (AVX2, Zen 4, nhwc, 3×3, 2 to 8 channels a group, 24@112 to 1024@7: 1.28 to 1.43; 2.2 where
// pixels push each other out of L1, at 256@56, stride 2).
constexpr double kOneVector = 1.3;

// Ways of the plan.
constexpr int kUsualTiles = 0, kWideTiles = 1;

class DirectAlgorithm final : public Algorithm {
 public:
  constexpr DirectAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-channels") {}

  bool can_compute(const Conv2dProblem&, const Isa&) const override { return true; }

  void block(Conv2dPlan& plan) const override {
    plan.lanes = Lanes::channels;
    plan.way = kUsualTiles;
    if (can_be_wide(plan)) {
      Conv2dPlan wide = plan;
      wide.way = kWideTiles;
      const Direct usual = shape_of(plan);
      const bool has_few = usual.segments().widest() <= usual.kernel->wide.mr;
      const double cost = row_cost(usual) * (has_few ? kFewChains : 1);
      if (row_cost(shape_of(wide)) < cost) plan = wide;
    }
    const Direct d = shape_of(plan);
    const Panels panels = d.filter_panels();
    plan.blocks = {d.blocks.panels * panels.max_width(),
                   d.blocks.channels * plan.problem.kernel_h * plan.problem.kernel_w,
                   d.blocks.tiles * d.segments()[0].width};
    plan.filter_panels = panels.count();
    plan.tile = d.tile;
    plan.units = plan.units_a_block = d.tiles();
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const Direct d = shape_of(plan);
    const double tile = p.layout == Layout::nhwc ? kTile : kTransposedTile;
    const bool has_parts = p.layout == Layout::nhwc && d.filters % d.kernel->lanes != 0;
    const double cycles = store_cycles(p, plan.lanes) +
                          (has_parts ? kPartVector * static_cast<double>(p.pixels()) : 0) +
                          static_cast<double>(d.tiles() * d.filter_panels().count()) * tile +
                          static_cast<double>(copied_lines(d)) * kCopyLine + waits(p, d) +
                          far_cycles(p, d) + rows_of_taps(p, d);
    const bool is_alone = p.groups > 1 && d.filters <= d.kernel->lanes && p.layout == Layout::nhwc;
    const double step = is_alone && d.kernel->lanes < 16 ? kOneVector : 1;
    const double taps =
        saves_left_out(p, d) ? inside_taps(p) : inside_rows(p) * static_cast<double>(p.kernel_w);
    const double steps =
        static_cast<double>(p.group_channels() * d.out_height) * taps * row_cost(d) * step;
    return std::max(steps, collisions(p, d) * units_a_cycle(d.kernel->lanes)) +
           cycles * units_a_cycle(d.kernel->lanes);
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan& plan) const override {
    return plan.way == kWideTiles ? PackedLayout::wide_lane_panels : PackedLayout::lane_panels;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * shape_of(plan).filter_panels().stored();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, shape_of(plan).filter_panels(),
                std::max<std::ptrdiff_t>(plan.problem.k(), 1), packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    Direct d = shape_of(plan);
    d.filter_packed = packed_weights(plan, tensors.packed, task.group);
    d.patches = long_patches_of(plan.problem, tensors.input, task.image, task.group);
    d.destination = destination_of(plan, tensors, task.image, task.group);
    direct(d, task.filters, task.units, scratch);
  }

 private:
  static bool can_be_wide(const Conv2dPlan& plan) {
    return plan.isa->kernels.direct->wide.mr > 0 && plan.problem.k() >= kLongSum;
  }
  // What the steps take at least, cycles.
  static double collisions(const Conv2dProblem& p, const Direct& d) {
    if (p.kernel_h * p.kernel_w != 1 || p.layout == Layout::nhwc ||
        p.height * p.width % kPageFloats != 0 || p.group_channels() <= kCollidingChannels) {
      return 0;
    }
    const std::ptrdiff_t steps = d.tiles() * d.filter_panels().count() * p.group_channels();
    return static_cast<double>(steps) * kCollidingStep;
  }

  // For weights, cycles.
  static double waits(const Conv2dProblem& p, const Direct& d) {
    const bool is_one_tap = p.kernel_h * p.kernel_w == 1;
    if (d.kernel->counts_asks && is_one_tap && p.layout == Layout::nhwc) return 0;
    const double lanes = static_cast<double>(d.kernel->lanes);
    const double rows = static_cast<double>(d.tile.mr);
    const double line = rows * kLineFloats / lanes / units_a_cycle(d.kernel->lanes);
    const std::ptrdiff_t floats = p.k() * d.filter_panels().stored();
    if (static_cast<std::size_t>(floats) * sizeof(float) <= cache_sizes().l1) return 0;
    const double lines = static_cast<double>(floats) / kLineFloats;
    const std::ptrdiff_t two_panels = 2 * d.tile.vectors * d.kernel->lanes;
    const auto held = static_cast<double>(p.k() * (p.height * p.width + two_panels));
    const bool is_alone = held * sizeof(float) < kMostOfL2 * static_cast<double>(cache_sizes().l2);
    const double most = !is_one_tap ? kWeightsLineOfWindow
                        : is_alone  ? kWeightsLineAlone
                                    : kWeightsLine;
    // Of tiles with fewer pixels a core has more lines under way at once.
    const double share = static_cast<double>(d.segments().widest()) / rows;
    return lines * std::max(most - line, 0.0) * share;
  }

  // For what comes from far, cycles.
  static double far_cycles(const Conv2dProblem& p, const Direct& d) {
    double pixels = 0;
    if (p.layout == Layout::nchw) {
      const double outputs = d.filters >= kManyFilters ? static_cast<double>(d.filters) : 0;
      const double inputs = is_pointwise(p) ? static_cast<double>(p.k()) : 0;
      pixels = static_cast<double>(d.tiles()) * (outputs * kFarOutput + inputs * kFarInput);
    } else if (p.k() > short_sum()) {
      pixels = static_cast<double>(p.pixels() * lines_of(d.filters)) * kFarPixel;
    }
    return far_share(p) * pixels + far_weights(p.k() * d.filter_panels().stored(), kFarWeights);
  }

  // Pixels that a tap leaves out save time where the row of taps is written out.
  static bool saves_left_out(const Conv2dProblem& p, const Direct& d) {
    if (p.kernel_w == 3 || d.kernel->lanes >= 16) return true;
    const auto& tiles = d.kernel->tile[static_cast<int>(TapRow::cut_ends)][d.tile.mr - 1];
    return p.dilation_w == p.stride_w && tiles[d.tile.vectors - 1] != nullptr;
  }

  // What their taps' multiply-adds leave out, cycles.
  static double rows_of_taps(const Conv2dProblem& p, const Direct& d) {
    if (p.kernel_h * p.kernel_w == 1 || d.kernel->lanes >= 16) return 0;
    const std::ptrdiff_t tiles = d.tiles() * d.filter_panels().count() * p.group_channels();
    const double rows = p.kernel_w == 1 ? 1 : inside_rows(p);
    return static_cast<double>(tiles) * rows * (p.kernel_w == 3 ? kRowOfThree : kRowOfAny);
  }

  // One step of k over a row of tiles.
  static double row_cost(const Direct& d) {
    return step_cost(d.segments(), d.filter_panels()) * (d.is_wide() ? kWide : 1);
  }

  // All but the tensors.
  static Direct shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const Patches patches = long_patches_of(p, nullptr, 0, 0);
    const DirectKernel* kernel = plan.isa->kernels.direct;
    Direct d{kernel,
             plan.way == kWideTiles ? kernel->wide : kernel->usual,
             p.group_filters(),
             p.group_channels(),
             p.pixels() / patches.out_width,
             patches,
             {},
             nullptr,
             {}};
    d.blocks = direct_blocks(d);
    return d;
  }
};

constexpr DirectAlgorithm kDirect;

}  // namespace

const Algorithm& direct_on_channels = kDirect;

}  // namespace gemmconv
