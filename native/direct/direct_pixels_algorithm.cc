// SPDX-License-Identifier: MIT
// Direct convolution with pixels on the lanes, as an algorithm of the plan. Exact.
#include <algorithm>

#include "algorithm.h"
#include "cost.h"
#include "direct/direct_pixels.h"
#include "direct/pixel_asks.h"
#include "direct/pixel_tiles.h"
#include "filter.h"
#include "lines.h"
#include "strip.h"
#include "system/cpu.h"
#include "views.h"

namespace gemmconv {
namespace {

// What follows is in cycles of Zen 4.

// A tile: to call and finish it, besides storing its outputs (1×1 24->144@56, both ISAs); to call
// one of those that are computed several a call (AVX2, 3×3 3->64@224, 1->6 on 100×150).
constexpr double kTile = 25.0;
constexpr double kRepeatedTile = 4.0;
// An output that is finished through memory (ResNeXt's 3×3 at 56, 28 and 14), and one that is
// stored by vectors of pixels: nhwc, all two to four filters there are (3×3 3->3@512, @1080p by
// two).
constexpr double kFinishInMemory = 0.4;
constexpr double kStoreFewFilters = 0.5;
constexpr std::ptrdiff_t kFew = 4;
// A row of outputs that are finished through memory (AVX2: rows of 5 to 28 outputs, 10×4 1->64 on
// 49×10 with steps of two, 3×3 and 5×5 without padding).
constexpr double kFinishRow = 4.0;

// A line of a strip, where there are no groups (1×1 with steps of two 320->3@7: nchw 14, nhwc 8).
constexpr double kLineOfStrip = 10.0;
// A float of a strip of planes: neighbours, or every other, by vectors (the first layers of ResNet
// and MobileNet).
constexpr double kCopyPixels = 0.6;
// Of planes, steps of three or four: all columns under one at once (patches of 4×4 and 3×3 side by
// side, AlexNet's 11×11).
constexpr double kCopyPhases = 0.8;
// Of planes, longer steps: one by one; and each from a cache line of its own (3×300 1->100 on
// 40×300, AVX2).
constexpr double kCopyScattered = 3.0;
constexpr double kCopyLines = 7.0;
// Of nhwc, where two to four channels are all there are: by vectors of pixels (1×1 3->1@512, 3×3
// 3->3@512).
constexpr double kCopyFewChannels = 0.35;
// Of nhwc, where more, but not a cache line, are all there are: whole pixels after each other (1×1
// 8->6 on 320×240, 3×3 with steps of two 6->2@112, 8->5 on 100×150).
constexpr double kCopyWholePixels = 0.7;
// Of nhwc, channels of a group: by blocks (ResNeXt); and any by whole cache lines (1×1 64->2@256,
// 64->12@112, 96->24@56).
constexpr double kCopyChannels = 1.2;
constexpr double kCopyChannelLines = 0.6;

// A load that crosses a cache line, as all but one of 16 unaligned vectors of 16 lanes do, takes so
// much longer (5×5 1->1@1080p: then depthwise is the faster, as it is).
constexpr double kCrossing = 1.25;
// A step that reads a page of its own takes at least so many cycles, where a tile reads more pages
// than the first level of the TLB holds beside weights and outputs (1×1 layers of ResNet-50 on
// AVX2: 6.4 to 7.4, with 64 of the 72 entries of Zen 4 on; AVX-512's larger tiles hide it). And
// where a tile's lines, of which each row of a plane of any size has one more than it fills, do not
// fit L1 (1×1 at 14, from 256 channels on: 6.6 to 6.9).
constexpr double kPageStep = 6.6;
constexpr std::ptrdiff_t kPages = 60, kPageFloats = 1024;
// Where L3 is far each line then takes so long (AVX-512: 14 to 18 cycles a step). There also what
// comes from far: a tile's row of pixels, 1×1; one of outputs, not asked for, if it is one of many;
// a line of weights.
constexpr double kLineBeyondL1 = 3.4, kFarInput = 120, kFarOutput = 150, kFarWeights = 20;
constexpr std::ptrdiff_t kManyFilters = 32;
// And so many where channels are whole pages apart: the lines of more than a few push each other
// out of L1 (AVX2, Zen 4: 8.8 to 10.5, 32 to 512 channels of 32 to 256 pixels a side).
constexpr double kCollidingStep = 9.0;
constexpr std::ptrdiff_t kCollidingSteps = 16;
// What masks for the ends of rows add to a tile where a multiply-add of a vector takes half a
// cycle, and, with more lanes, half as much; and cycles to lay them out and to begin with strips
// for the first and the last rows (Zen 4, both ISAs: 3×3 at 14 to 256, 3->16@32).
constexpr double kMasked = 0.02;
constexpr double kMasksSetUp = 1000.0;
// Cycles of a step for each line that its tile reads from L2, as all do where weights and pixels of
// a window do not fit L1 (3×3 and 5×5 of 16 to 256 channels at 28 to 256, both ISAs).
constexpr double kLineOfL2 = 1.0;
// The same where more channels are whole pages apart than L2 has ways, too, and no second panel of
// filters finds what the first has fetched (AVX2: 3×3 256->3@96 8, 64->1@128 4; 9×9 32->3@256 9,
// 5×5 32->1@128 3).
constexpr double kCollidingLine = 4.0;
// The narrowest strip, so wide, must not have more floats (L2 of a small core); nor masks.
constexpr std::ptrdiff_t kStripMost = std::ptrdiff_t{1} << 17;
constexpr std::ptrdiff_t kStripWidth = 128;

bool is_one_row(const Conv2dProblem& p) {
  return is_pointwise(p) && (p.layout == Layout::nchw || p.channels == 1);
}

std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Ways of the plan.
constexpr int kStrips = 0, kInPlace = 1;

class DirectPixelsAlgorithm final : public Algorithm {
 public:
  constexpr DirectPixelsAlgorithm() : Algorithm(AlgorithmName::direct, "direct", "direct-pixels") {}

  bool can_compute(const Conv2dProblem& p, const Isa&) const override {
    if (p.group_channels() == 0 || (p.fragile && p.is_padded())) return false;
    const std::ptrdiff_t width = std::min(p.out_width, kStripWidth);
    return Strip(nullptr, patches_of(p, nullptr, 0, 0), p.group_channels(), 1, width).floats() <=
           kStripMost;
  }

  void block(Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectPixels d = shape_of(plan);
    const Panels panels = d.filter_panels();
    const std::ptrdiff_t tile = d.most_vectors() * d.kernel->lanes;
    plan.lanes = Lanes::pixels;
    plan.tile = {static_cast<int>(panels[0].width), static_cast<int>(d.most_vectors())};
    plan.filter_panels = panels.count();
    plan.blocks = {panels[0].width, p.k(), tile};
    if (is_one_row(p)) {
      // Vectors: of tiles the last thread would have one fewer (66 for two threads: 1 %).
      const std::ptrdiff_t lanes = d.kernel->lanes;
      plan.units = plan.units_a_block = (p.pixels() + lanes - 1) / lanes;
      return;
    }
    plan.blocks.nc = strip_columns(plan, tile);
    plan.way = kStrips;
    plan.units = p.out_height;
    plan.units_a_block = rows_held(p, plan.blocks.nc);
    if (!can_read_in_place(plan)) return;
    Conv2dPlan in_place = plan;
    in_place.way = kInPlace;
    in_place.units_a_block = rows_held(p, p.out_width);
    if (cost(in_place) < cost(plan)) plan = in_place;
  }

  double cost(const Conv2dPlan& plan) const override {
    const Conv2dProblem& p = plan.problem;
    const DirectPixels d = shape_of(plan);
    const double store = store_cost(plan) + far_cycles(plan, d) * units_a_cycle(d.kernel->lanes);
    if (d.pointwise) return store + run_cost(plan, p.pixels());
    if (!d.in_place) return store + strips_cost(plan, d, p.out_height);
    const Range inner = rows_in_place(d, {0, p.out_height});
    const double masked =
        d.masks().floats() > 0 ? 1 + kMasked * units_a_cycle(d.kernel->lanes) / 2 : 1;
    double cycles = store + run_cost(plan, inner.size() * p.width) * masked +
                    kMasksSetUp * units_a_cycle(d.kernel->lanes) +
                    strips_cost(plan, d, inner.begin) +
                    strips_cost(plan, d, p.out_height - inner.end);
    if (p.out_width < p.width) cycles += finish_in_memory(plan, inner.size());
    return cycles;
  }

  std::ptrdiff_t scratch(const Conv2dPlan& plan) const override {
    return direct_pixels_scratch(shape_of(plan));
  }

  PackedLayout packed_layout(const Conv2dPlan& plan) const override {
    return plan.problem.layout == Layout::nchw ? PackedLayout::pixel_row_panels
                                               : PackedLayout::transposed_pixel_row_panels;
  }

  std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const override {
    return plan.problem.k() * plan.problem.group_filters();
  }

  void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const override {
    pack_filter(filter, shape_of(plan).filter_panels(), plan.problem.k(), packed);
  }

  void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
           float* scratch) const noexcept override {
    DirectPixels d = shape_of(plan);
    d.filter_packed = packed_weights(plan, tensors.packed, task.group);
    d.patches = patches_of(plan.problem, tensors.input, task.image, task.group);
    if (d.pointwise) d.patches = flattened(d.patches);
    d.destination = destination_of(plan, tensors, task.image, task.group);
    direct_pixels(d, task.filters, task.units, scratch);
  }

 private:
  // All but the tensors.
  static DirectPixels shape_of(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const bool pointwise = is_one_row(p);
    const DirectPixelsKernel* kernel = plan.isa->kernels.direct_pixels;
    return {kernel,
            p.layout == Layout::nchw ? &kernel->by_vectors : &kernel->transposed,
            plan.isa->kernels.strip,
            p.group_filters(),
            p.group_channels(),
            pointwise,
            plan.way == kInPlace,
            pointwise ? 1 : plan.units_a_block,
            plan.blocks.nc,
            nullptr,
            patches_of(p, nullptr, 0, 0),
            {}};
  }

  static Strip strip_of(const Conv2dProblem& p, std::ptrdiff_t rows, std::ptrdiff_t columns) {
    return Strip(nullptr, patches_of(p, nullptr, 0, 0), p.group_channels(), rows, columns);
  }

  // A quarter of L2 holds a strip, or the rows that are read in place.
  static std::ptrdiff_t strip_most() {
    return static_cast<std::ptrdiff_t>(cache_sizes().l2 / 4 / sizeof(float));
  }

  // Whole rows, which are whole vectors or run on; or, if they are too large, tiles of one row.
  static std::ptrdiff_t strip_columns(const Conv2dPlan& plan, std::ptrdiff_t tile) {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t whole = round_up(p.out_width, plan.isa->kernels.direct_pixels->lanes);
    const std::ptrdiff_t run =
        (p.out_height - 1) * strip_of(p, 1, p.out_width).row_stride() + p.out_width;
    const double rows = static_cast<double>(p.out_height) * run_cost(plan, whole);
    const bool has_gaps = strip_of(p, 1, p.out_width).row_stride() > p.out_width;
    const double one_run =
        run_cost(plan, run) + (has_gaps ? finish_in_memory(plan, p.out_height) : 0);
    std::ptrdiff_t columns = one_run < rows ? p.out_width : whole;
    while (columns > tile && strip_of(p, 1, columns).floats() > strip_most()) {
      columns = round_up(columns / 2, tile);
    }
    return columns;
  }

  static std::ptrdiff_t rows_held(const Conv2dProblem& p, std::ptrdiff_t columns) {
    const std::ptrdiff_t one = strip_of(p, 1, columns).floats();
    // On average, as strips come in whole lines.
    constexpr std::ptrdiff_t kSome = 16;
    const std::ptrdiff_t more =
        std::max<std::ptrdiff_t>(1, (strip_of(p, 1 + kSome, columns).floats() - one) / kSome);
    return std::clamp<std::ptrdiff_t>(1 + std::max<std::ptrdiff_t>(0, strip_most() - one) / more, 1,
                                      p.out_height);
  }

  static bool can_read_in_place(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const bool has_planes = p.layout == Layout::nchw || p.channels == 1;
    if (!has_planes || p.stride_h != 1 || p.stride_w != 1 || p.out_width > p.width) return false;
    // What several panels of filters read stays in L2.
    if (plan.filter_panels > 1 && strip_of(p, 1, p.out_width).floats() > strip_most()) return false;
    const DirectPixels d = shape_of(plan);
    return d.masks().floats() <= kStripMost && rows_in_place(d, {0, p.out_height}).size() > 0;
  }

  static double store_cost(const Conv2dPlan& plan) {
    const Conv2dProblem& p = plan.problem;
    const bool merges = p.layout == Layout::nhwc && p.groups == 1 && p.out_channels <= kFew;
    const double cycles = merges
                              ? kStoreFewFilters * static_cast<double>(p.pixels() * p.out_channels)
                              : store_cycles(p, plan.lanes);
    return cycles * units_a_cycle(plan.isa->kernels.direct_pixels->lanes);
  }

  static double finish_in_memory(const Conv2dPlan& plan, std::ptrdiff_t rows) {
    const Conv2dProblem& p = plan.problem;
    const double row = kFinishInMemory * static_cast<double>(p.out_width) + kFinishRow;
    return row * static_cast<double>(rows * p.group_filters()) *
           units_a_cycle(plan.isa->kernels.direct_pixels->lanes);
  }

  // Of a float of a strip.
  static double copy_cycles(const Conv2dProblem& p, const Strip& strip) {
    if (p.layout == Layout::nchw || p.channels == 1) {
      if (p.stride_w <= 2) return kCopyPixels;
      if (strip.splits_phases()) return kCopyPhases;
      return p.stride_w <= kLineFloats ? kCopyScattered : kCopyLines;
    }
    if (p.groups == 1 && p.channels <= kFew && strip.splits()) return kCopyFewChannels;
    if (p.groups == 1 && p.channels >= kFew && p.channels < kLineFloats) return kCopyWholePixels;
    return p.group_channels() < kLineFloats ? kCopyChannels : kCopyChannelLines;
  }

  // So many rows of outputs from strips.
  static double strips_cost(const Conv2dPlan& plan, const DirectPixels& d, std::ptrdiff_t rows) {
    if (rows == 0) return 0;
    const Conv2dProblem& p = plan.problem;
    const Strip strip(d.strip, d.patches, d.channels, d.strip_rows(), d.columns);
    const std::ptrdiff_t down = (rows + d.strip_rows() - 1) / d.strip_rows();
    const std::ptrdiff_t across = (p.out_width + d.columns - 1) / d.columns;
    const double line = p.groups == 1 ? kLineOfStrip / static_cast<double>(strip.row_stride()) : 0;
    const double copy = static_cast<double>(down * across * strip.floats()) *
                        (copy_cycles(p, strip) + line) * units_a_cycle(d.kernel->lanes);
    if (strip.row_stride() == p.out_width) return copy + run_cost(plan, rows * p.out_width);
    if (d.runs_on()) {
      return copy + run_cost(plan, rows * strip.row_stride()) + finish_in_memory(plan, rows);
    }
    const double runs = static_cast<double>(p.out_width) / static_cast<double>(d.columns);
    return copy + static_cast<double>(rows) * std::max(1.0, runs) * run_cost(plan, d.columns);
  }

  // All panels at a run of neighbouring pixels.
  static double run_cost(const Conv2dPlan& plan, std::ptrdiff_t pixels) {
    const Conv2dProblem& p = plan.problem;
    const DirectPixels d = shape_of(plan);
    const DirectPixelsKernel& kernel = *d.kernel;
    const Panels panels = d.filter_panels();
    const std::ptrdiff_t vectors = (pixels + kernel.lanes - 1) / kernel.lanes;
    const std::ptrdiff_t most = d.most_vectors();
    const std::ptrdiff_t tiles = (vectors + most - 1) / most;
    const double r = static_cast<double>(panels.extent()) / static_cast<double>(panels.count());
    const double v = static_cast<double>(vectors) / static_cast<double>(tiles);
    const double load = 1.0 + kCrossing * static_cast<double>(kernel.lanes) / 16.0;
    const std::ptrdiff_t plane = p.height * p.width;
    const bool turns_pages =
        is_one_row(p) && std::min(plane, kPageFloats) * p.k() > kPages * kPageFloats;
    const double lines = 1 + (v * static_cast<double>(kernel.lanes) - 1) / kLineFloats;
    const double bytes = static_cast<double>(p.k()) * (lines * kLineFloats + r) * sizeof(float);
    const double leaves_l1 = is_one_row(p) ? beyond_l1(bytes) : 0;
    const bool collides = is_one_row(p) && plane % kPageFloats == 0 && p.k() > kCollidingSteps;
    const double page = collides ? kCollidingStep : turns_pages ? kPageStep : 0;
    const double pages = page * units_a_cycle(kernel.lanes);
    const bool refetches = d.in_place && plane % kPageFloats == 0 && panels.count() == 1 &&
                           p.group_channels() > kCollidingSteps;
    const double line = (refetches ? kCollidingLine : kLineOfL2) * units_a_cycle(kernel.lanes);
    const double found = std::max({r * v, r + load * v, kChainsInFlight, pages});
    const double beyond = core_traits().l3_is_far ? kLineBeyondL1 * lines : kPageStep;
    const double fetched = std::max(found, beyond * units_a_cycle(kernel.lanes));
    const double step =
        found + (fetched - found) * leaves_l1 + lines_of_l2(p, r, v * kernel.lanes) * line;
    return static_cast<double>(tiles * panels.count()) *
           (static_cast<double>(p.k()) * step + tile_cycles(plan, d) * units_a_cycle(kernel.lanes));
  }

  // For what comes from far, cycles.
  static double far_cycles(const Conv2dPlan& plan, const DirectPixels& d) {
    const Conv2dProblem& p = plan.problem;
    const double weights = far_weights(p.k() * p.group_filters(), kFarWeights);
    if (!is_one_row(p)) return weights;
    const bool asks = p.layout == Layout::nchw && p.k() >= kManySteps;
    const std::ptrdiff_t outputs = p.out_channels > kManyFilters && !asks ? p.out_channels : 0;
    const double tile =
        static_cast<double>(p.k()) * kFarInput + static_cast<double>(outputs) * kFarOutput;
    const double tiles = static_cast<double>(p.pixels() / (d.most_vectors() * d.kernel->lanes));
    return far_share(p) * tiles * tile + weights;
  }

  // On average of a row.
  static double tile_cycles(const Conv2dPlan& plan, const DirectPixels& d) {
    const Conv2dProblem& p = plan.problem;
    const std::ptrdiff_t row = (d.pointwise ? p.pixels() : p.out_width) / d.kernel->lanes;
    const std::ptrdiff_t tiles = row / d.most_vectors();
    // One from the end of a row to the beginning of the next has masks.
    const std::ptrdiff_t repeated = tiles - (d.in_place && d.masks().floats() > 0 ? 1 : 0);
    if (repeated < 2 || !repeats(plan, d)) return kTile;
    return kTile - (kTile - kRepeatedTile) * static_cast<double>(repeated) /
                       static_cast<double>(std::max<std::ptrdiff_t>(tiles, 1));
  }

  static bool repeats(const Conv2dPlan& plan, const DirectPixels& d) {
    const Conv2dProblem& p = plan.problem;
    const Panels panels = d.filter_panels();
    const bool by_vectors = p.layout == Layout::nchw || p.out_channels == 1;
    const bool merges = p.groups == 1 && panels.count() == 1;
    const auto repeat = d.kernel->repeat[!by_vectors][panels[0].width - 1];
    if (repeat == nullptr || !(by_vectors || merges)) return false;
    if (d.channels <= kReadAhead) return !d.pointwise || panels.count() == 1;
    return !d.pointwise && !(d.in_place && comes_from_afar(d));
  }

  // What share of so many bytes, which are read again and again, L1 no longer has: less and less
  // from half of it on, as they spread unevenly over its sets (AVX2, Zen 4: 3×3 with steps of two,
  // of 16 channels, 17 KB, 12 % of the lines, 24 60 %, 32 85 %).
  static double beyond_l1(double bytes) {
    return std::clamp(2 * bytes / static_cast<double>(cache_sizes().l1) - 1, 0.0, 1.0);
  }

  // Lines that a step of a tile reads from beyond L1.
  static double lines_of_l2(const Conv2dProblem& p, double rows, double lanes) {
    if (is_pointwise(p)) return 0;
    const double taps = static_cast<double>(p.kernel_h * p.kernel_w);
    const double line = static_cast<double>(kLineFloats);
    // Every other pixel lies in a row of its own.
    const std::ptrdiff_t phases = std::min(p.stride_w, p.kernel_w);
    const double reach = static_cast<double>((p.kernel_w - 1) * p.dilation_w / phases);
    const double rows_of_pixels = static_cast<double>(p.kernel_h * phases);
    const double apart = rows_of_pixels * (1 + (lanes + reach - 1) / line);
    // Short rows lie on the same lines.
    const double rows_below = static_cast<double>((p.kernel_h - 1) * p.dilation_h * p.width);
    const double together = 1 + (rows_below + reach + lanes - 1) / line;
    const double pixels = p.stride_w == 1 ? std::min(apart, together) : apart;
    const double channel = pixels + rows * taps / line;
    const double bytes = channel * line * sizeof(float) + taps * sizeof(std::ptrdiff_t);
    return beyond_l1(bytes * static_cast<double>(p.group_channels())) * channel / taps;
  }
};

constexpr DirectPixelsAlgorithm kDirectPixels;

}  // namespace

const Algorithm& direct_on_pixels = kDirectPixels;

}  // namespace gemmconv
