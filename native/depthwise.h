// SPDX-License-Identifier: MIT
// Depthwise convolution: every group has one input channel, so there is nothing to sum over but the
// window. Pixels lie on the lanes in nchw, channels in nhwc. A tile of outputs reads the image in
// place where its window lies inside, and elsewhere a small copy of the window with zeros around.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct Depthwise {
  const DepthwiseKernel* kernel;
  Lanes lanes;
  std::ptrdiff_t channels, multiplier;  // the multiplier is 1 with channels on the lanes
  const float* filter_packed;
  Patches patches;          // from the first channel on
  Destination destination;  // from the first filter on

  Panels channel_panels() const {
    return {channels, kernel->lanes * kernel->vectors, kernel->lanes};
  }
};

// pixels: filters × taps; channels: taps × channel_panels().stored().
std::ptrdiff_t depthwise_weights(const Depthwise& depthwise);
void pack_depthwise(const Depthwise& depthwise, const FilterView& filter, float* packed);

// Floats of scratch that `depthwise` needs.
std::ptrdiff_t depthwise_scratch(const Depthwise& depthwise);

// Computes a range of output rows of a range of channels (pixels) or channel panels (channels).
void depthwise(const Depthwise& depthwise, Range channels, Range rows, float* scratch) noexcept;

}  // namespace gemmconv
