// SPDX-License-Identifier: MIT
// C = A·B, blocked for the caches after Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (2008), and the BLIS papers of Van Zee and van de Geijn, whose loop numbers and
// block names stand in gemm.cc. It does not know that it is a convolution.
//
// One operand (the filter) was packed ahead, whole; the other (patches) is packed block by block
// inside. Either may lie on the lanes of the microkernel. The loops are the same: N, jc and NC
// count pixels, M, ic and MC count filters, on whichever side they lie.
#pragma once

#include <algorithm>
#include <cstddef>

#include "destination.h"
#include "gemm/blocks.h"
#include "kernel/few_rows.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct Gemm {
  const GemmKernel* kernel;
  Lanes lanes;
  std::ptrdiff_t m, k;  // filters, steps of a patch
  BlockSizes blocks;
  bool pointwise;  // a 1×1 filter that skips nothing: `patches` is flattened
  const float* filter_packed;
  Patches patches;
  Destination destination;

  // Whether all neighbouring pixels are neighbours in the image, as they are in a panel (a 1×1
  // filter that skips nothing, nchw), and several panels of filters use them.
  bool packs_on_the_way() const {
    return lanes == Lanes::pixels && pointwise && patches.column_stride == 1 && m > kernel->mr &&
           kernel->packing[filter_panels().widest() - 1] != nullptr;
  }
  // And whether each panel is needed no longer than until the next is packed.
  bool packs_to_one_place() const {
    return packs_on_the_way() && k <= blocks.kc && filter_panels().count() <= mc_panels();
  }
  std::ptrdiff_t mc_panels() const {
    return std::max<std::ptrdiff_t>(1, blocks.mc / filter_panels().max_width());
  }
  Panels filter_panels() const { return panels_on(lanes == Lanes::channels, m); }
  Panels pixel_panels(std::ptrdiff_t pixels) const {
    return panels_on(lanes == Lanes::pixels, pixels);
  }
  // How many panels of filters are computed side by side, at so many pixels.
  std::ptrdiff_t panels_at_once(std::ptrdiff_t pixels) const {
    const FewRowsKernel& few = *kernel->few_rows;
    const bool are_few = lanes == Lanes::channels && pixels > 0 && pixels <= few.rows;
    return are_few ? few.panels[pixels - 1] : 1;
  }
  Panels panels_on(bool lane_side, std::ptrdiff_t extent) const {
    if (lane_side) return {extent, kernel->vectors * kernel->lanes, kernel->lanes};
    return {extent, kernel->mr, 1};
  }
};

// Floats of scratch that `gemm` needs for this many filters (whole panels) at this many pixels.
std::ptrdiff_t gemm_scratch(const Gemm& gemm, std::ptrdiff_t filters, std::ptrdiff_t pixels);

// Computes the filters of a range of filter panels at a range of pixels.
void gemm(const Gemm& gemm, Range filter_panels, Range pixels, float* scratch) noexcept;

// The same of so few pixels that several panels are computed side by side.
void gemm_few_pixels(const Gemm& gemm, Range filter_panels, Range pixels, float* scratch) noexcept;

}  // namespace gemmconv
