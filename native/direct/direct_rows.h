// SPDX-License-Identifier: MIT
// Direct convolution of short sums, nhwc: output channels on the lanes as in direct.h, but many
// tiles a call, and no taps are skipped. Where some lie outside the image, its rows are copied with
// zeros around them: of few channels that is little beside what is computed from it.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct DirectRows {
  const DirectRowsKernel* kernel;
  const ChannelVectorsKernel* vectors;
  TileShape tile;                    // one of the kernel's
  std::ptrdiff_t filters, channels;  // of the only group
  std::ptrdiff_t out_height;
  Patches patches;             // pixels are `channels` apart
  bool is_padded;              // some taps lie outside the image
  std::ptrdiff_t rows;         // of outputs that share a copy; 0: inner tiles read in place
  const float* filter_packed;  // channel panels, one K block
  Destination destination;

  Panels filter_panels() const { return {filters, tile.vectors * kernel->lanes, kernel->lanes}; }
  // How a row of outputs is cut.
  Panels segments() const { return {patches.out_width, tile.mr, 1}; }
  std::ptrdiff_t tiles() const { return out_height * segments().count(); }
  // Floats of a copy: of a row of the image, whatever part of it is copied; under rows of outputs.
  std::ptrdiff_t copied_row() const;
  std::ptrdiff_t copied_floats(std::ptrdiff_t out_rows) const {
    return patches.rows_under(out_rows) * copied_row();
  }
  std::ptrdiff_t k() const { return channels * patches.kernel_h * patches.kernel_w; }
};

// Whether the kernel has the tiles that rows of outputs are cut into.
bool has_direct_rows(const DirectRows& direct);

// Floats of scratch that `direct_rows` needs.
std::ptrdiff_t direct_rows_scratch(const DirectRows& direct);

// Computes the filters of a range of filter panels at a range of tiles of pixels.
void direct_rows(const DirectRows& direct, Range filter_panels, Range tiles,
                 float* scratch) noexcept;

}  // namespace gemmconv
