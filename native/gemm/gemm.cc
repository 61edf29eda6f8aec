// SPDX-License-Identifier: MIT
#include "gemm/gemm.h"

#include <algorithm>
#include <cassert>
#include <cstdint>

#include "lines.h"
#include "system/cpu.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// One operand of the macrokernel: some panels of a packed K block, and where they lie in C.
struct Side {
  Panels panels;
  Range range;                   // of panels
  const float* packed;           // panel i at packed + panels[i].begin · kc
  std::ptrdiff_t c_begin;        // index in C of row or lane 0 of `panels`
  std::ptrdiff_t partial_begin;  // row or lane that comes first in the partial sums
};

struct Block {
  std::ptrdiff_t kc;
  bool first, last;
  float* partial;  // lanes × rows, tile by tile
  std::ptrdiff_t partial_rows;
};

// Whether weights lie on the lanes and are so many that each panel comes from L3 or beyond, and had
// better be asked for while the one before it is used (AVX2, Zen 4, 8 MB: 1×1 1024->2048@14 stride
// 2 nchw 2.57 -> 2.45 ms, 2048->1024@7 2.47 -> 2.41; up to 4 MB it costs 0.3 to 0.8 %. AVX-512,
// Sapphire Rapids, nhwc: 2.46 -> 1.67, 960->2048@8 3.09 -> 2.47, 512@7 2.30 -> 2.24).
bool come_from_afar(const Gemm& g) {
  const auto near = static_cast<std::ptrdiff_t>(near_bytes() / sizeof(float));
  return g.lanes == Lanes::channels && g.m > near / std::max<std::ptrdiff_t>(g.k, 1);
}

// Loops 2 and 1: the lane panel stays close (blocks.cc) while the row panels stream past it. What
// its tiles have in common is written once, and from one to the next pointers move on: what is done
// between two tiles of short sums is not hidden by their multiply-adds.
class MacroKernel {
 public:
  MacroKernel(const Gemm& g, const Side& rows, const Side& lanes, const Block& block)
      : g_(g),
        rows_(rows),
        lanes_(lanes),
        block_(block),
        first_row_(rows.panels[rows.range.begin]) {
    tile_.k = block.kc;
    tile_.first = block.first;
    tile_.last = block.last;
    tile_.output = &output_;
  }

  // False when the result is no longer wanted, as the next one.
  bool run() {
    // Each tile asks for its share of the next panel's steps, if they come from afar; else for one.
    const std::ptrdiff_t tiles = rows_.range.size();
    const std::ptrdiff_t share = come_from_afar(g_) ? (block_.kc + tiles - 1) / tiles : 1;
    tile_.b_stride = lanes_.panels.max_width();
    tile_.ask_every = std::max<std::ptrdiff_t>(1, block_.kc / std::max<std::ptrdiff_t>(1, share));
    for (std::ptrdiff_t jr = lanes_.range.begin; jr < lanes_.range.end; ++jr) {
      const Panel lane = lanes_.panels[jr];
      start(lane, lanes_.packed + lane.begin * block_.kc);
      tile_.ask = tile_.b + lane_width_ * block_.kc;
      for (std::ptrdiff_t ir = rows_.range.begin; ir < rows_.range.end; ++ir) {
        const std::ptrdiff_t rows = rows_.panels[ir].width;
        tile(rows);
        move_on(rows);
        tile_.ask += share * tile_.b_stride;
      }
      if (!end_slice()) return false;
    }
    return true;
  }

  // Pixels, from step `pc` on, are packed on the way: the first tile of a panel reads them in
  // place, and copies them if it can.
  bool run_packing(std::ptrdiff_t pc, float* packed) {
    tile_.b_stride = g_.patches.channel_stride;
    const std::ptrdiff_t tiles = rows_.range.size();
    const std::ptrdiff_t share = std::max<std::ptrdiff_t>(1, (block_.kc + tiles - 1) / tiles);
    const std::ptrdiff_t asking = (block_.kc + share - 1) / share;
    const std::ptrdiff_t panel_lines = lines_of(lanes_.panels.max_width());
    const std::ptrdiff_t packed_step = g_.packs_to_one_place() ? 0 : block_.kc;
    for (std::ptrdiff_t jr = lanes_.range.begin; jr < lanes_.range.end; ++jr) {
      const Panel lane = lanes_.panels[jr];
      tile_.b_packed = packed + lane.begin * packed_step;
      start(lane, tile_.b_packed);
      // The tiles ask for the next panel's pixels, each for its share of their lines: those that
      // this panel does not reach into.
      tile_.ask = image(pc, lane) + lane.width + lanes_.panels.max_width() - 1 -
                  (panel_lines - 1) * kLineFloats;
      tile_.ask_every = asking;  // so many tiles have a share, which is as many steps for each line
      first_tile(pc, lane);
      std::ptrdiff_t rows = first_row_.width;
      for (std::ptrdiff_t i = 1; i < tiles; ++i) {
        move_on(rows);
        tile_.ask += share * tile_.b_stride;
        if (i == asking) tile_.ask_every = tile_.k;
        if (i >= asking) tile_.ask = tile_.a;
        rows = rows_.panels[rows_.range.begin + i].width;
        tile(rows);
      }
      if (!end_slice()) return false;
    }
    return true;
  }

 private:
  // With the first rows.
  void start(const Panel& lane, const float* b) {
    const std::ptrdiff_t r = rows_.c_begin + first_row_.begin;
    const std::ptrdiff_t l = lanes_.c_begin + lane.begin;
    const bool pixels_on_lanes = g_.lanes == Lanes::pixels;
    g_.destination.move(output_, pixels_on_lanes ? r : l, pixels_on_lanes ? l : r);
    vectors_ = lane.width / g_.kernel->lanes;
    lane_width_ = lane.width;
    tile_.a = rows_.packed + first_row_.begin * block_.kc;
    tile_.b = b;
    tile_.valid_lanes = static_cast<int>(lane.valid);
    tile_.partial = block_.partial + (lane.begin - lanes_.partial_begin) * block_.partial_rows +
                    (first_row_.begin - rows_.partial_begin) * lane.width;
  }

  void move_on(std::ptrdiff_t rows) {
    tile_.a += rows * block_.kc;
    tile_.partial += rows * lane_width_;
    output_.c += rows * output_.row_stride;
    if (output_.add != nullptr) output_.add += rows * output_.row_stride;
    if (!output_.bias_on_lanes) output_.bias += rows;
  }

  void tile(std::ptrdiff_t rows) { g_.kernel->tile[rows - 1][vectors_ - 1](tile_); }

  const float* image(std::ptrdiff_t pc, const Panel& lane) const {
    return g_.patches.image + pc * g_.patches.channel_stride + lanes_.c_begin + lane.begin;
  }

  void first_tile(std::ptrdiff_t pc, const Panel& lane) {
    const auto packing = g_.kernel->packing[first_row_.width - 1];
    if (packing != nullptr && lane.valid == lanes_.panels.max_width()) {
      tile_.b = image(pc, lane);
      packing(tile_);
      tile_.b = tile_.b_packed;
      return;
    }
    pack_patches(g_.patches, pc, block_.kc, lanes_.c_begin + lane.begin, lanes_.panels.only(lane),
                 tile_.b_packed);
    tile(first_row_.width);
  }

  const Gemm& g_;
  const Side& rows_;
  const Side& lanes_;
  const Block& block_;
  const Panel first_row_;
  std::ptrdiff_t vectors_ = 0, lane_width_ = 0;
  Output output_ = g_.destination.tile(g_.lanes, 0, 0);
  GemmTile tile_{};
};

std::ptrdiff_t width_of(const Panels& panels, Range range) {
  if (range.begin == range.end) return 0;
  const Panel last = panels[range.end - 1];
  return last.begin + last.width - panels[range.begin].begin;
}

// With so many panels the first pixels are computed apart, for the others to start where lines do,
// of which a panel then needs one, not two (Zen 4, AVX2, 1×1 64->64 and 256->64, time over that of
// panels as they come: with 25 of them 1.05, 49 0.99 to 1.01, 100 0.99, from 121 on 0.98).
constexpr std::ptrdiff_t kPanelsWorthAligning = 128;

std::ptrdiff_t pixels_to_line(const Gemm& g, Range pixels) {
  const std::ptrdiff_t nr = g.kernel->lanes * g.kernel->vectors;
  const bool stays_aligned = g.destination.filter_stride % kLineFloats == 0;
  if (!g.packs_to_one_place() || !stays_aligned || pixels.size() < kPanelsWorthAligning * nr) {
    return 0;
  }
  const auto floats = static_cast<std::ptrdiff_t>(
      reinterpret_cast<std::uintptr_t>(g.destination.c + pixels.begin) / sizeof(float));
  return (kLineFloats - floats % kLineFloats) % kLineFloats;
}

}  // namespace

std::ptrdiff_t gemm_scratch(const Gemm& gemm, std::ptrdiff_t filters, std::ptrdiff_t pixels) {
  if (gemm.packs_to_one_place()) return gemm.k * gemm.pixel_panels(pixels).max_width();
  const std::ptrdiff_t stored = gemm.pixel_panels(std::min(pixels, gemm.blocks.nc)).stored();
  const std::ptrdiff_t partial = gemm.k > gemm.blocks.kc ? filters * stored : 0;
  const std::ptrdiff_t usual = std::min(gemm.blocks.kc, gemm.k) * stored + partial;
  if (gemm.lanes == Lanes::pixels) return usual;
  // Tasks may have a pixel less, and that be few.
  const std::ptrdiff_t few = std::min<std::ptrdiff_t>(pixels, gemm.kernel->few_rows->rows);
  return std::max(usual, (gemm.k + filters) * few);
}

void gemm(const Gemm& g, Range filter_panels, Range pixels, float* scratch) noexcept {
  const Panels filters = g.filter_panels();
  assert(filter_panels.end <= filters.count());
  if (filter_panels.begin == filter_panels.end) return;
  if (g.panels_at_once(pixels.size()) > 1) {
    gemm_few_pixels(g, filter_panels, pixels, scratch);
    return;
  }
  const std::ptrdiff_t filter_begin = filters[filter_panels.begin].begin;
  const std::ptrdiff_t filters_here = width_of(filters, filter_panels);
  const std::ptrdiff_t mc_panels = g.mc_panels();
  const bool pixels_on_lanes = g.lanes == Lanes::pixels;
  const bool packs_on_the_way = g.packs_on_the_way();

  std::ptrdiff_t nc = pixels_to_line(g, pixels);
  for (std::ptrdiff_t jc = pixels.begin; jc < pixels.end; jc += nc) {  // loop 5
    if (jc > pixels.begin || nc == 0) nc = g.blocks.nc;
    const Panels columns = g.pixel_panels(std::min(nc, pixels.end - jc));
    float* const patches_packed = scratch;
    float* const partial = scratch + std::min(g.blocks.kc, g.k) * columns.stored();

    std::ptrdiff_t pc = 0;
    do {  // loop 4; a sum over no channels still has its bias
      const std::ptrdiff_t kc = std::min(g.blocks.kc, g.k - pc);
      if (!packs_on_the_way) pack_patches(g.patches, pc, kc, jc, columns, patches_packed);
      const Side pixel_side{columns, {0, columns.count()}, patches_packed, jc, 0};
      for (std::ptrdiff_t ic = filter_panels.begin; ic < filter_panels.end; ic += mc_panels) {
        // loop 3
        const Range panels{ic, std::min(ic + mc_panels, filter_panels.end)};
        const Side filter_side{filters, panels, g.filter_packed + pc * filters.stored(), 0,
                               filter_begin};
        const Block block{kc, pc == 0, pc + kc >= g.k, partial,
                          pixels_on_lanes ? filters_here : columns.stored()};
        const Side& rows = pixels_on_lanes ? filter_side : pixel_side;
        const Side& lanes = pixels_on_lanes ? pixel_side : filter_side;
        MacroKernel kernel(g, rows, lanes, block);
        const bool wanted = packs_on_the_way && ic == filter_panels.begin
                                ? kernel.run_packing(pc, patches_packed)
                                : kernel.run();
        if (!wanted) return;
      }
      pc += kc;
    } while (pc < g.k);
  }
}

}  // namespace gemmconv
