// SPDX-License-Identifier: MIT
// Depthwise convolution with channels on the lanes, for nhwc: reads the image in place, padded taps
// skipped. Exact.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/depthwise_kernels.h"
#include "pack.h"

namespace gemmconv {

struct DepthwiseChannels {
  const DepthwiseChannelsKernel* kernel;
  std::ptrdiff_t tap_stride;  // tap k of the first channel is at weights[k·tap_stride]
  const float* weights;
  Patches patches;          // from the first channel on
  Destination destination;  // from the first filter on
  bool is_far;              // too much for L2
  bool is_streamed;         // through the caches, from memory to memory
};

// How such windows are computed, for who estimates what that costs.
struct DepthwiseChannelsForm {
  bool shares_loads;  // there are kernels that load a pixel once for all outputs
  TileShape tile;     // the largest
};
DepthwiseChannelsForm depthwise_channels_form(const DepthwiseChannels& depthwise);

// Computes a range of output rows of a range of channels, at least a vector of them.
void depthwise_channels(const DepthwiseChannels& depthwise, Range channels, Range rows) noexcept;

}  // namespace gemmconv
