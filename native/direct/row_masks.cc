// SPDX-License-Identifier: MIT
#include "direct/row_masks.h"

#include <algorithm>
#include <numeric>

#include "direct/direct_pixels.h"
#include "lines.h"

namespace gemmconv {
namespace {

// Up to here masks are laid out such that every vector of them is aligned, where no lanes are left
// out between rows. Few tiles of wider rows have any.
constexpr std::ptrdiff_t kAlignedWidth = 256;

std::ptrdiff_t period_of(std::ptrdiff_t width, std::ptrdiff_t vector) {
  return width <= kAlignedWidth ? std::lcm(width, vector) : width;
}

}  // namespace

RowMasks::RowMasks(const Patches& p, std::ptrdiff_t vector, std::ptrdiff_t tile)
    : p_(p),
      period_(period_of(p.width, vector)),
      length_(whole_lines(period_ + tile)),
      safe_{p.pad_left, p.width - (p.kernel_w - 1) * p.dilation_w + p.pad_left} {}

std::ptrdiff_t RowMasks::floats() const {
  std::ptrdiff_t floats = 0;
  for (std::ptrdiff_t kw = 0; kw < p_.kernel_w; ++kw) floats += has_mask(kw) ? length_ : 0;
  return floats;
}

void RowMasks::fill(int* masks) const {
  for (std::ptrdiff_t kw = 0; kw < p_.kernel_w; ++kw) {
    if (!has_mask(kw)) continue;
    std::fill_n(masks, length_, -1);
    const Range range = inside(shift(kw), 1, p_.width, p_.width);
    for (std::ptrdiff_t row = 0; row < length_; row += p_.width) {
      const std::ptrdiff_t width = std::min(p_.width, length_ - row);
      for (std::ptrdiff_t i = 0; i < std::min(range.begin, width); ++i) masks[row + i] = 0;
      for (std::ptrdiff_t i = range.end; i < width; ++i) masks[row + i] = 0;
    }
    masks += length_;
  }
}

void RowMasks::locate(std::ptrdiff_t channels, std::ptrdiff_t* steps) const {
  std::ptrdiff_t masks = 0;
  for (std::ptrdiff_t kw = 0; kw < p_.kernel_w; ++kw) {
    steps[kw] = has_mask(kw) ? masks : -1;
    masks += has_mask(kw) ? length_ : 0;
  }
  repeat_steps(steps, p_.kernel_w, channels * p_.kernel_h, 0);
}

// Not even a tap that is masked, or in a lane behind the last row, leaves the channel's plane.
Range rows_in_place(const DirectPixels& d, Range rows) {
  const Patches& p = d.patches;
  const std::ptrdiff_t first = p.pad_top * p.width + p.pad_left;
  const std::ptrdiff_t reach =
      (p.kernel_h - 1) * p.dilation_h * p.width + (p.kernel_w - 1) * p.dilation_w;
  const std::ptrdiff_t end = p.height * p.width + first - reach - p.out_width - d.kernel->lanes + 1;
  const std::ptrdiff_t begin = std::clamp((first + p.width - 1) / p.width, rows.begin, rows.end);
  return {begin, std::clamp(end < 0 ? 0 : end / p.width + 1, begin, rows.end)};
}

}  // namespace gemmconv
