// SPDX-License-Identifier: MIT
// How lines of an image come into a strip (strip.h).
#pragma once

#include <cstddef>

namespace gemmconv {

// A line of each channel on its way into a strip: zeros, every step-th float of the image, zeros.
struct StripLine {
  const float* src;  // the first that is copied
  std::ptrdiff_t channel_stride, step;
  float* dst;
  std::ptrdiff_t dst_channel_stride;
  std::ptrdiff_t channels;
  std::ptrdiff_t before, inside, after;
};

inline constexpr std::ptrdiff_t kMostSplit = 4;  // channels of a pixel

struct StripKernel {
  void (*copy_line)(const StripLine&);
  std::ptrdiff_t lanes;  // fewest pixels to split
  // [channels - 2]: pixels that have no others, to a line of each channel.
  void (*split[kMostSplit - 1])(const float* src, std::ptrdiff_t pixels, float* dst,
                                std::ptrdiff_t dst_stride);
  // The same of pairs of pixels: their first to dst, their second to other.
  void (*split_pairs[kMostSplit - 1])(const float* src, std::ptrdiff_t pairs, float* dst,
                                      float* other, std::ptrdiff_t dst_stride);
};

}  // namespace gemmconv
