// SPDX-License-Identifier: MIT
// Depthwise convolution of nchw images with channels on the lanes: a vector of channels is copied
// to where they lie side by side, convolved there as nhwc, and copied back. That is two
// transpositions, of 16 × 16 floats in some 64 cycles each; but small maps, whose rows leave lanes
// empty or end in masks, lose more than that with pixels on the lanes. Exact.
#pragma once

#include <cstddef>

#include "depthwise/depthwise_channels.h"
#include "destination.h"
#include "kernel/depthwise_kernels.h"
#include "pack.h"

namespace gemmconv {

struct DepthwiseTransposed {
  const DepthwiseChannelsKernel* kernel;
  const ChannelVectorsKernel* vectors;
  std::ptrdiff_t channels, multiplier;
  const float* weights;     // panels of a vector of channels × multiplier × taps × lanes
  Patches patches;          // from the first channel on
  Destination destination;  // from the first filter on
};

DepthwiseChannelsForm depthwise_transposed_form(const DepthwiseTransposed& depthwise);

// Floats of scratch that `depthwise_transposed` needs.
std::ptrdiff_t depthwise_transposed_scratch(const DepthwiseTransposed& depthwise);

// Computes a range of output rows of a range of panels of channels.
void depthwise_transposed(const DepthwiseTransposed& depthwise, Range panels, Range rows,
                          float* scratch) noexcept;

}  // namespace gemmconv
