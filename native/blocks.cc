// SPDX-License-Identifier: MIT
#include "blocks.h"

#include <algorithm>

#include "cpu.h"

namespace gemmconv {
namespace {

// Equal blocks instead of a short last one: ceil(k / ceil(k / most)).
std::ptrdiff_t even_block(std::ptrdiff_t k, std::ptrdiff_t most) {
  const std::ptrdiff_t blocks = std::max<std::ptrdiff_t>(1, (k + most - 1) / most);
  return std::max<std::ptrdiff_t>(1, (k + blocks - 1) / blocks);
}

std::ptrdiff_t multiple_of(std::ptrdiff_t value, std::ptrdiff_t unit) {
  return std::max(value / unit, std::ptrdiff_t{1}) * unit;
}

}  // namespace

BlockSizes block_sizes(const GemmKernel& kernel, Lanes lanes, std::ptrdiff_t k) {
  const CacheSizes& cache = cache_sizes();
  const auto floats = [](std::size_t bytes) {
    return static_cast<std::ptrdiff_t>(bytes / sizeof(float));
  };
  const std::ptrdiff_t nr = kernel.lanes * kernel.vectors;
  // A lane panel of kc × NR stays in L1 while row panels stream past.
  const std::ptrdiff_t kc_most = std::max<std::ptrdiff_t>(64, floats(cache.l1) / nr);
  const std::ptrdiff_t kc = even_block(k, kc_most);
  // The row side's block is read again for every lane panel: half of L2. The lane side's is read
  // once for each of the row side's blocks, in order: the other half, or what L3 gives a core.
  const std::ptrdiff_t row_block = multiple_of(floats(cache.l2) / 2 / kc, kernel.mr);
  const std::ptrdiff_t lane_block = multiple_of(floats(cache.l2) / 2 / kc, nr);
  if (lanes == Lanes::pixels) return {row_block, kc, lane_block};
  return {lane_block, kc, row_block};
}

}  // namespace gemmconv
