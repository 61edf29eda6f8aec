// SPDX-License-Identifier: MIT
// Direct convolution with pixels on the lanes, for few output channels or short sums: every pixel
// that is loaded serves a panel of output channels from registers. They are read from strips of the
// image, padded copies; or in place, where neighbouring outputs have neighbours for their pixels.
#pragma once

#include <algorithm>
#include <cstddef>

#include "destination.h"
#include "direct/row_masks.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct DirectPixels {
  const DirectPixelsKernel* kernel;
  const PixelTileShapes* shapes;  // the kernel's for this destination
  const StripKernel* strip;
  std::ptrdiff_t filters, channels;  // of the group
  bool pointwise;  // a 1×1 filter that skips nothing: `patches` is flattened, and read in place
  bool in_place;   // others: but for rows of which a tap lies above or below the image
  // Outputs of a strip (pointwise: of a tile). Columns are whole vectors, or all those of the
  // image, and then tiles run on from row to row. In place they always do.
  std::ptrdiff_t rows, columns;
  const float* filter_packed;  // panels, one K block
  Patches patches;
  Destination destination;

  Panels filter_panels() const { return {filters, shapes->mr, 1}; }
  // Of a tile.
  std::ptrdiff_t most_vectors() const { return shapes->vectors[filter_panels()[0].width - 1]; }
  std::ptrdiff_t k() const { return channels * patches.kernel_h * patches.kernel_w; }
  bool runs_on() const { return columns % kernel->lanes != 0; }
  std::ptrdiff_t strip_columns() const { return pointwise ? kernel->lanes : columns; }
  // At the upper and the lower end of an image that is read in place there are few.
  std::ptrdiff_t strip_rows() const { return in_place ? std::min(rows, patches.kernel_h) : rows; }
  RowMasks masks() const { return {patches, kernel->lanes, kMaxPixelVectors * kernel->lanes}; }
};

// Of a range of rows of outputs those that can be read in place.
Range rows_in_place(const DirectPixels& direct, Range rows);

// Floats of scratch that `direct_pixels` needs.
std::ptrdiff_t direct_pixels_scratch(const DirectPixels& direct);

// Computes the filters of a range of filter panels at a range of output rows (pointwise: of vectors
// of pixels).
void direct_pixels(const DirectPixels& direct, Range filter_panels, Range units,
                   float* scratch) noexcept;

}  // namespace gemmconv
