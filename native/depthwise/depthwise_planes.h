// SPDX-License-Identifier: MIT
// Depthwise convolution of planes of nchw images that are not large, by 3×3 and 5×5 windows, and by
// 2×2 ones in steps of two, with pixels on the lanes: one call computes some planes, read in place.
// Exact.
#pragma once

#include <cstddef>

#include "depthwise/depthwise_pixels.h"

namespace gemmconv {

bool can_compute_planes(const DepthwisePixels& depthwise);

// How, for who estimates what that costs.
struct DepthwisePlanesForm {
  std::ptrdiff_t lanes;
  double vectors;         // of a row, two planes' halves being one
  std::ptrdiff_t planes;  // computed at once
  std::ptrdiff_t beside;  // vectors that are computed side by side
  std::ptrdiff_t tiles;   // one below the other
  TileShape tile;         // rows of outputs whose windows hold the same row, by those beside
};
DepthwisePlanesForm depthwise_planes_form(const DepthwisePixels& depthwise,
                                          std::ptrdiff_t out_height);

// Floats of scratch that `depthwise_planes` needs.
std::ptrdiff_t depthwise_planes_scratch(const DepthwisePixels& depthwise);

// Computes a range of output rows of a range of channels.
void depthwise_planes(const DepthwisePixels& depthwise, Range channels, Range rows,
                      float* scratch) noexcept;

}  // namespace gemmconv
