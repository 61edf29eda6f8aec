// SPDX-License-Identifier: MIT
// The GEMM where there is one panel of so few pixels that the weights, of which each is used only
// so often, come no faster than the caches or memory give them: the panels of filters are computed
// several at once, in the order in which they lie there, and nothing else is done on the way.
#include <algorithm>

#include "gemm/gemm.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// Some neighbouring panels of filters.
struct Group {
  std::ptrdiff_t begin, width, valid;  // filters
};

Group group_at(const Panels& filters, std::ptrdiff_t first_panel, Panel panels) {
  const Panel first = filters[first_panel + panels.begin];
  const Panel last = filters[first_panel + panels.begin + panels.width - 1];
  return {first.begin, last.begin + last.width - first.begin,
          last.begin + last.valid - first.begin};
}

}  // namespace

void gemm_few_pixels(const Gemm& g, Range filter_panels, Range pixels, float* scratch) noexcept {
  const FewRowsKernel& kernel = *g.kernel->few_rows;
  const Panels filters = g.filter_panels();
  const Panels columns = g.pixel_panels(pixels.size());
  const std::ptrdiff_t rows = columns.widest();
  const Panels groups(filter_panels.size(), kernel.panels[rows - 1], 1);
  float* const partial = scratch + g.k * rows;
  // All patches first: where packed block by block, weights from memory wait for each (7×7
  // 512->1000@7 nhwc 3.35 -> 2.97 ms, Zen 4).
  const float* patches = rows == 1 ? patch_in_place(g.patches, pixels.begin) : nullptr;
  if (patches == nullptr) {
    pack_patches(g.patches, 0, g.k, pixels.begin, columns, scratch);
    patches = scratch;
  }
  std::ptrdiff_t pc = 0;
  do {
    const std::ptrdiff_t kc = std::min(g.blocks.kc, g.k - pc);
    const float* const weights = g.filter_packed + pc * filters.stored();
    float* sums = partial;
    for (std::ptrdiff_t i = 0; i < groups.count(); ++i) {
      const Group group = group_at(filters, filter_panels.begin, groups[i]);
      if (pc == 0) std::fill_n(sums, rows * group.width, 0.0f);
      kernel.tile[rows - 1][group.width / g.kernel->lanes - 1](
          {kc, patches + pc * rows, weights + group.begin * kc, filters.max_width() * kc, sums});
      if (pc + kc >= g.k) {
        kernel.finish(sums, static_cast<int>(rows), static_cast<int>(group.width),
                      static_cast<int>(group.valid),
                      g.destination.tile(g.lanes, group.begin, pixels.begin));
      }
      sums += rows * group.width;
      if (!end_slice()) return;
    }
    pc += kc;
  } while (pc < g.k);
}

}  // namespace gemmconv
