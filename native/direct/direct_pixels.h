// SPDX-License-Identifier: MIT
// Direct convolution with pixels on the lanes, for few output channels or short sums: every pixel
// that is loaded serves a panel of output channels from registers. A 1×1 filter that skips nothing
// reads the image in place, as one long row; others read a strip of it, a padded copy.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct DirectPixels {
  const DirectPixelsKernel* kernel;
  const StripKernel* strip;
  std::ptrdiff_t filters, channels;  // of the group
  bool pointwise;                    // then `patches` is flattened, to be read in place
  // Outputs of a strip (pointwise: of a tile). Columns are whole vectors, or all those of the
  // image, and then tiles run on from row to row. Where there are more in the image, all but its
  // borders are read in place if they can be.
  std::ptrdiff_t rows, columns;
  const float* filter_packed;  // panels, one K block
  Patches patches;
  Destination destination;

  Panels filter_panels() const { return {filters, kernel->mr, 1}; }
  std::ptrdiff_t k() const { return channels * patches.kernel_h * patches.kernel_w; }
  bool runs_on() const { return columns % kernel->lanes != 0; }
  std::ptrdiff_t strip_columns() const { return pointwise ? kernel->lanes : columns; }
  bool may_read_in_place() const {
    return columns < patches.out_width && patches.stride_w == 1 && patches.column_stride == 1;
  }
};

// Floats of scratch that `direct_pixels` needs.
std::ptrdiff_t direct_pixels_scratch(const DirectPixels& direct);

// Computes the filters of a range of filter panels at a range of output rows (pointwise: of tiles).
void direct_pixels(const DirectPixels& direct, Range filter_panels, Range units,
                   float* scratch) noexcept;

}  // namespace gemmconv
