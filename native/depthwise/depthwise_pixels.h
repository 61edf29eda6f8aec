// SPDX-License-Identifier: MIT
// Depthwise convolution with pixels on the lanes, for nchw; and for nhwc with few channels, whose
// rows are runs of floats, too: then taps are as many floats apart as there are channels, and
// weights repeat after as many lanes. The image is read in place, lanes outside it masked; of
// windows that move on by several columns a copy is read that has the columns phase by phase.
// Exact.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/depthwise_kernels.h"
#include "pack.h"

namespace gemmconv {

struct DepthwisePixels {
  const DepthwisePixelsKernel* kernel;
  const DepthwisePlanesKernel* planes;
  const StripKernel* strip;
  std::ptrdiff_t interleaved;  // channels of a pixel that are neighbours: 1 in nchw, else all
  std::ptrdiff_t channels, multiplier;  // the multiplier is 1 where channels are interleaved
  const float* weights;                 // filters × taps, interleaved: taps × channels
  Patches patches;                      // from the first channel on
  Destination destination;              // from the first filter on
  bool is_streamed;                     // outputs had better go past the caches
};

// How rows of outputs are computed, for who estimates what that costs.
struct DepthwisePixelsForm {
  std::ptrdiff_t vectors;  // of a row
  std::ptrdiff_t rows;     // so many share what they load; 1 where none do
  bool is_square;          // 3×3 or 5×5, with kernels of their own
  double copied;           // floats, for each row of outputs; 0 where the image is read in place
  TileShape tile;          // the largest
};
DepthwisePixelsForm depthwise_pixels_form(const DepthwisePixels& depthwise);

// Floats of scratch that `depthwise_pixels` needs.
std::ptrdiff_t depthwise_pixels_scratch(const DepthwisePixels& depthwise);

// Computes a range of output rows of a range of channels; interleaved ones are computed all.
void depthwise_pixels(const DepthwisePixels& depthwise, Range channels, Range rows,
                      float* scratch) noexcept;

}  // namespace gemmconv
