// SPDX-License-Identifier: MIT
// A Winograd convolution for the tests: its tensors, what it should give, and what it does give
// when it is cut at random.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "winograd/winograd.h"

namespace gemmconv::test {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  std::ptrdiff_t taps;  // of the filter along one side
  std::ptrdiff_t batch, channels, height, width, filters, groups, pad_top, pad_left;
  std::ptrdiff_t dilation_h, dilation_w;
  std::ptrdiff_t out_height, out_width;
  bool nhwc;
  Epilogue epilogue;
  std::vector<float> input, filter, bias, add;

  std::ptrdiff_t group_channels() const { return channels / groups; }
  std::ptrdiff_t group_filters() const { return filters / groups; }
  std::ptrdiff_t out_pixels() const { return out_height * out_width; }
  std::size_t input_index(std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t pixel) const {
    const std::ptrdiff_t pixels = height * width;
    return static_cast<std::size_t>(nhwc ? (n * pixels + pixel) * channels + c
                                         : (n * channels + c) * pixels + pixel);
  }
  std::size_t output_index(std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t pixel) const {
    return static_cast<std::size_t>(nhwc ? (n * out_pixels() + pixel) * filters + oc
                                         : (n * filters + oc) * out_pixels() + pixel);
  }
  // 0 where padded.
  float at(std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t h, std::ptrdiff_t w) const {
    if (h < 0 || h >= height || w < 0 || w >= width) return 0;
    return input[input_index(n, c, h * width + w)];
  }
  const float* weights(std::ptrdiff_t oc, std::ptrdiff_t c) const {
    return filter.data() + (oc * group_channels() + c) * taps * taps;
  }
};

// The whole convolution, each group cut at random into blocks and into four tasks.
std::vector<float> convolve(Suite& suite, const Case& c, const Isa& isa,
                            const WinogradTransforms& transforms, Random& random);

// A test of each form of the transforms, of each instruction set that runs here.
void test_transforms(Suite& suite, const std::string& what,
                     const std::function<void(const Isa&, const WinogradTransforms&)>& body);

// Before bias, add and activation, in double.
double exact_sum(const Case& c, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh,
                 std::ptrdiff_t ow);

}  // namespace gemmconv::test
