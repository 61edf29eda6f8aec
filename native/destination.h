// SPDX-License-Identifier: MIT
// Where an algorithm writes: one image's output channels of one group, filters × pixels, addressed
// by two strides, so that nchw and nhwc are the same to it.
#pragma once

#include <cstddef>

#include "kernel/kernel.h"

namespace gemmconv {

// Which of the two lies on the lanes of the microkernel: pixels, when neighbouring pixels are
// neighbours in memory (nchw); channels, when neighbouring output channels are (nhwc), or when
// there are too few pixels to fill vectors.
enum class Lanes { pixels, channels };

struct Destination {
  float* c;
  const float* add;  // addressed as c; null for none
  std::ptrdiff_t filter_stride, pixel_stride;
  const float* bias;  // one value a filter, zeros up to a whole vector
  Epilogue epilogue;

  // Whether bias and clamp are all that becomes of a sum.
  bool only_clamps() const { return add == nullptr && epilogue.activation <= Activation::clamp; }

  // Has a tile of this destination start at (filter, pixel) instead.
  void move(Output& tile, std::ptrdiff_t filter, std::ptrdiff_t pixel) const {
    const std::ptrdiff_t offset = filter * filter_stride + pixel * pixel_stride;
    tile.c = c + offset;
    if (add != nullptr) tile.add = add + offset;
    tile.bias = bias + filter;
  }

  // The tile whose first element is (filter, pixel).
  Output tile(Lanes lanes, std::ptrdiff_t filter, std::ptrdiff_t pixel) const {
    const std::ptrdiff_t offset = filter * filter_stride + pixel * pixel_stride;
    const bool on_lanes = lanes == Lanes::channels;
    return {c + offset,
            add == nullptr ? nullptr : add + offset,
            on_lanes ? pixel_stride : filter_stride,
            on_lanes ? filter_stride : pixel_stride,
            bias + filter,
            on_lanes,
            epilogue};
  }
};

}  // namespace gemmconv
