// SPDX-License-Identifier: MIT
// Cache block sizes of the GEMM, derived from the caches found at run time.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/kernel.h"

namespace gemmconv {

struct BlockSizes {
  std::ptrdiff_t mc;  // filters
  std::ptrdiff_t kc;  // steps of a patch
  std::ptrdiff_t nc;  // pixels
};

// For `filters` sums of k steps a pixel. Nothing depends on the image, so every plan of a layer
// with the same lanes reads the same packed filter.
BlockSizes block_sizes(const GemmKernel& kernel, Lanes lanes, std::ptrdiff_t filters,
                       std::ptrdiff_t k);

}  // namespace gemmconv
