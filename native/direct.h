// SPDX-License-Identifier: MIT
// Direct convolution: output channels on the lanes, pixels broadcast in place from the image, the
// whole sum of an output in one register. Nothing is packed but the filter, and padded taps are
// skipped. (The register blocking is that of Georganas et al., "Anatomy of High-Performance Deep
// Learning Convolutions on SIMD Architectures", 2018, on plain layouts.)
#pragma once

#include <cstddef>

#include "destination.h"
#include "gemm.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct Direct {
  const DirectKernel* kernel;
  std::ptrdiff_t filters, channels;  // of the group
  std::ptrdiff_t panels_a_block;     // whose weights stay in L2 together
  const float* filter_packed;        // channel panels, one K block
  Patches patches;
  Destination destination;
};

// Floats of scratch that `direct` needs.
std::ptrdiff_t direct_scratch(std::ptrdiff_t kernel_w);

// Computes the filters of a range of filter panels at a range of output rows.
void direct(const Direct& direct, Range filter_panels, Range rows, float* scratch) noexcept;

}  // namespace gemmconv
