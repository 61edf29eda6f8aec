// SPDX-License-Identifier: MIT
#include "gemm/gemm.h"

#include <algorithm>
#include <cassert>

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

// Loops 2 and 1: the lane panel stays close (blocks.cc) while the row panels stream past it. False
// when the result is no longer wanted.
bool macro_kernel(const Gemm& g, const Side& rows, const Side& lanes, const Block& block) {
  for (std::ptrdiff_t jr = lanes.range.begin; jr < lanes.range.end; ++jr) {
    const Panel lane = lanes.panels[jr];
    const std::ptrdiff_t vectors = lane.width / g.kernel->lanes;
    for (std::ptrdiff_t ir = rows.range.begin; ir < rows.range.end; ++ir) {
      const Panel row = rows.panels[ir];
      const std::ptrdiff_t r = rows.c_begin + row.begin;
      const std::ptrdiff_t l = lanes.c_begin + lane.begin;
      const Output output = g.lanes == Lanes::channels ? g.destination.tile(g.lanes, l, r)
                                                       : g.destination.tile(g.lanes, r, l);
      const GemmTile tile{block.kc,
                          rows.packed + row.begin * block.kc,
                          lanes.packed + lane.begin * block.kc,
                          block.partial + (lane.begin - lanes.partial_begin) * block.partial_rows +
                              (row.begin - rows.partial_begin) * lane.width,
                          block.first,
                          block.last,
                          static_cast<int>(lane.valid),
                          &output};
      g.kernel->tile[row.width - 1][vectors - 1](tile);
    }
    if (!end_slice()) return false;
  }
  return true;
}

std::ptrdiff_t width_of(const Panels& panels, Range range) {
  if (range.begin == range.end) return 0;
  const Panel last = panels[range.end - 1];
  return last.begin + last.width - panels[range.begin].begin;
}

}  // namespace

std::ptrdiff_t gemm_scratch(const Gemm& gemm, std::ptrdiff_t filters, std::ptrdiff_t pixels) {
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
  const std::ptrdiff_t mc_panels = std::max<std::ptrdiff_t>(1, g.blocks.mc / filters.max_width());

  for (std::ptrdiff_t jc = pixels.begin; jc < pixels.end; jc += g.blocks.nc) {  // loop 5
    const Panels columns = g.pixel_panels(std::min(g.blocks.nc, pixels.end - jc));
    float* const patches_packed = scratch;
    float* const partial = scratch + std::min(g.blocks.kc, g.k) * columns.stored();

    std::ptrdiff_t pc = 0;
    do {  // loop 4; a sum over no channels still has its bias
      const std::ptrdiff_t kc = std::min(g.blocks.kc, g.k - pc);
      pack_patches(g.patches, pc, kc, jc, columns, patches_packed);
      const Side pixel_side{columns, {0, columns.count()}, patches_packed, jc, 0};
      for (std::ptrdiff_t ic = filter_panels.begin; ic < filter_panels.end; ic += mc_panels) {
        // loop 3
        const Range panels{ic, std::min(ic + mc_panels, filter_panels.end)};
        const Side filter_side{filters, panels, g.filter_packed + pc * filters.stored(), 0,
                               filter_begin};
        const bool pixels_on_lanes = g.lanes == Lanes::pixels;
        const Block block{kc, pc == 0, pc + kc >= g.k, partial,
                          pixels_on_lanes ? filters_here : columns.stored()};
        const Side& rows = pixels_on_lanes ? filter_side : pixel_side;
        const Side& lanes = pixels_on_lanes ? pixel_side : filter_side;
        if (!macro_kernel(g, rows, lanes, block)) return;
      }
      pc += kc;
    } while (pc < g.k);
  }
}

}  // namespace gemmconv
