// SPDX-License-Identifier: MIT
// Depthwise convolution of nhwc images with several filters a channel: of some rows and channels a
// copy is made that has every channel once for each of its filters, and that is convolved as if
// there were one. With one, the copy keeps pixels off each other's lines of L1. Exact.
#pragma once

#include <cstddef>

#include "depthwise/depthwise_channels.h"
#include "runs.h"

namespace gemmconv {

struct DepthwiseRepeated {
  DepthwiseChannels filters;  // its channels are filters, its patches those of the image
  std::ptrdiff_t multiplier;
};

// Floats of scratch that `depthwise_repeated` needs.
std::ptrdiff_t depthwise_repeated_scratch(const DepthwiseRepeated& depthwise);

// Computes a range of output rows of a range of filters, at least a vector of them.
void depthwise_repeated(const DepthwiseRepeated& depthwise, Range filters, Range rows,
                        float* scratch) noexcept;

}  // namespace gemmconv
