// SPDX-License-Identifier: MIT
// Direct convolution: output channels on the lanes, pixels broadcast in place from the image, the
// sum of an output in one register. Nothing is packed but the filter, and padded taps are skipped.
// (The register blocking is that of Georganas et al., "Anatomy of High-Performance Deep Learning
// Convolutions on SIMD Architectures", 2018, on plain layouts.)
#pragma once

#include <cstddef>

#include "destination.h"
#include "gemm/gemm.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

// Taps of sums up to so short ask for the outputs to be written next, if these are vectors, instead
// of weights, of which there are few. (Zen 4: 3×3 3->64@224 nhwc, whose outputs come from L3 or
// beyond, 2.14 -> 1.77 ms; 1×10 stride 5 1->512@16000 0.411 -> 0.400; 1×1 64->256@56 0.933 ->
// 0.927.) Where L3 is far, longer ones, too (Sapphire Rapids, nhwc: 3×3 16->192, four of 80, step
// of two, 4.9 -> 3.6 ms, dilation 2, four of 56, 9.6 -> 8.5; 1×1 128->576, eight of 20, 4.2
// -> 3.9).
std::ptrdiff_t short_sum();

// How the work is cut, for the caches' sake.
struct DirectBlocks {
  std::ptrdiff_t pixels;    // most of a tile
  bool copies;              // tiles read a copy of the image under them (direct_window.h)
  std::ptrdiff_t rows;      // of outputs that share a copy; 0: each tile has its own
  std::ptrdiff_t channels;  // sums are carried from one such block to the next
  std::ptrdiff_t panels;    // of filters, whose weights for `channels` stay in L2 together
  std::ptrdiff_t tiles;     // whose sums are carried at a time
};

struct Direct {
  const DirectKernel* kernel;
  TileShape tile;                    // one of the kernel's
  std::ptrdiff_t filters, channels;  // of the group
  std::ptrdiff_t out_height;
  Patches patches;
  DirectBlocks blocks;         // by direct_blocks
  const float* filter_packed;  // channel panels, one K block
  Destination destination;

  bool is_wide() const { return tile.vectors > kernel->usual.vectors; }
  Panels filter_panels() const { return {filters, tile.vectors * kernel->lanes, kernel->lanes}; }
  // How a row of outputs is cut.
  Panels segments() const { return {patches.out_width, blocks.pixels, 1}; }
  // Tiles of pixels, row-major.
  std::ptrdiff_t tiles() const { return out_height * segments().count(); }
};

// For a shape of which all but the blocks is known.
DirectBlocks direct_blocks(const Direct& direct);

// Floats of scratch that `direct` needs.
std::ptrdiff_t direct_scratch(const Direct& direct);

// Computes the filters of a range of filter panels at a range of tiles of pixels.
void direct(const Direct& direct, Range filter_panels, Range tiles, float* scratch) noexcept;

}  // namespace gemmconv
