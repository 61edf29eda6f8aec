// SPDX-License-Identifier: MIT
#include "restated.h"

namespace gemmconv {
namespace {

// Filters as wide as the image see its rows as one line, and their outputs as one row of pixels
// instead of rows of one each, which no tile shares (Zen 4, AVX2: 5×1 64->64@500×1 nchw 1.11 ->
// 0.24 ms). To those of several groups a single output is no row.
bool has_one_column(const Conv2dProblem& p) {
  return p.height > 1 && (p.out_height > 1 || p.groups == 1) && p.out_width == 1 &&
         p.kernel_w == p.width && p.pad_left == 0 && (p.kernel_w == 1 || p.dilation_w == 1) &&
         (p.kernel_h == 1 || p.dilation_h == 1);
}

void join_rows(Conv2dProblem& p) {
  p.kernel_w *= p.kernel_h;
  // From a single output on no step is taken, and it may be any number.
  p.stride_w = p.out_height == 1 ? 1 : p.stride_h * p.width;
  p.pad_left = p.pad_top * p.width;
  p.out_width = p.out_height;
  p.width *= p.height;
  p.height = p.kernel_h = p.stride_h = p.out_height = p.dilation_h = p.dilation_w = 1;
  p.pad_top = 0;
}

// Images of which each is one patch, in rows joined: a matrix, whose weights are then read once for
// all of them (Zen 4, AVX2: 16 images 2048->1000@1 3.1 -> 0.8 ms).
bool are_patches(const Conv2dProblem& p) {
  return p.groups == 1 && p.height == 1 && p.kernel_h == 1 && p.out_height == 1 &&
         p.out_width == 1 && p.kernel_w == p.width && p.pad_left == 0 && p.pad_top == 0 &&
         (p.kernel_w == 1 || p.dilation_w == 1);
}

// A channel of nchw is then as good as more channels of one tap, if the filter has them in that
// order, too.
bool joins_channels(const Conv2dProblem& p) {
  return p.layout == Layout::nchw &&
         (p.width == 1 || p.channels == 1 || p.filter_layout == FilterLayout::oihw);
}

void join_images(Conv2dProblem& p) {
  if (p.layout == Layout::nchw) {
    p.layout = Layout::nhwc;
    p.channels *= p.width;
    p.width = p.kernel_w = 1;
  }
  p.stride_w = p.width;
  p.out_width = p.batch;
  p.width *= p.batch;
  p.dilation_w = p.batch = 1;
}

}  // namespace

Conv2dProblem restated(const Conv2dProblem& problem) {
  Conv2dProblem p = problem;
  // Winograd's filters are square, and depthwise's steps and windows small: no longer so, restated.
  if (p.algorithm == AlgorithmName::winograd || p.algorithm == AlgorithmName::depthwise) return p;
  if (has_one_column(p)) join_rows(p);
  if (p.batch > 0 && are_patches(p) && (p.layout == Layout::nhwc || joins_channels(p))) {
    join_images(p);
  }
  return p;
}

}  // namespace gemmconv
