// SPDX-License-Identifier: MIT
#include "gemm/blocks.h"

#include <algorithm>

#include "system/cpu.h"

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

// Longer K blocks load and store unfinished sums less often; beyond this nothing was left to win
// (n = 1024, Zen 4: 89 % of peak at 256, 93 at 512, 95 at 1024).
constexpr std::ptrdiff_t kKcMost = 1024;
// What a core may count on of the shared L3 for a block that is read in order.
constexpr std::size_t kL3Block = std::size_t{4} << 20;

}  // namespace

BlockSizes block_sizes(const GemmKernel& kernel, Lanes lanes, std::ptrdiff_t filters,
                       std::ptrdiff_t k) {
  const CacheSizes& cache = cache_sizes();
  const auto floats = [](std::size_t bytes) {
    return static_cast<std::ptrdiff_t>(bytes / sizeof(float));
  };
  const std::ptrdiff_t nr = kernel.lanes * kernel.vectors;
  // A lane panel of kc × NR is read again for every row panel. An eighth of L2 holds it; keeping it
  // in L1 instead (kc = 256) gains less than the longer sums do, because a tile does 28
  // multiply-adds for each 128 bytes it reads of the panel.
  const std::ptrdiff_t kc_most = std::clamp<std::ptrdiff_t>(floats(cache.l2) / 8 / nr, 64, kKcMost);
  const std::ptrdiff_t kc = even_block(k, kc_most);
  // The row side's block is read again for every lane panel: a quarter of L2 holds it. The lane
  // side's block is read in order, once for each row block. Where there is but one row block it
  // need not outlive that: another quarter. Otherwise it had better be long, since the row side
  // streams past once for each lane block: a core's share of L3.
  const std::size_t row_bytes = cache.l2 / 4;
  const std::ptrdiff_t row_block = multiple_of(floats(row_bytes) / kc, kernel.mr);
  const bool one_row_block = lanes == Lanes::pixels && filters <= row_block;
  const std::size_t lane_bytes =
      one_row_block ? cache.l2 / 4 : std::max(cache.l2 / 2, std::min(cache.l3 / 8, kL3Block));
  const std::ptrdiff_t lane_block = multiple_of(floats(lane_bytes) / kc, nr);
  if (lanes == Lanes::pixels) return {row_block, kc, lane_block};
  return {lane_block, kc, row_block};
}

}  // namespace gemmconv
