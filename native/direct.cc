// SPDX-License-Identifier: MIT
#include "direct.h"

#include <algorithm>

#include "slice.h"

namespace gemmconv {
namespace {

// Fills `ranges` for the pixels of a segment; null when every tap of every pixel is inside.
const PixelRange* ranges_of(const Patches& p, std::ptrdiff_t iw, std::ptrdiff_t pixels,
                            PixelRange* ranges) {
  const std::ptrdiff_t last = iw + (pixels - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w;
  if (iw >= 0 && last < p.width) return nullptr;
  for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
    const Range range = inside(iw + kw * p.dilation_w, p.stride_w, p.width, pixels);
    ranges[kw] = {static_cast<int>(range.begin), static_cast<int>(range.end)};
  }
  return ranges;
}

// One row of one filter panel, cut evenly into tiles of neighbouring pixels.
void row_of_panel(const Direct& d, const Panel& panel, std::ptrdiff_t oh, PixelRange* ranges) {
  const Patches& p = d.patches;
  const std::ptrdiff_t k = d.channels * p.kernel_h * p.kernel_w;
  const std::ptrdiff_t ih = oh * p.stride_h - p.pad_top;
  const Range kh = inside(ih, p.dilation_h, p.height, p.kernel_h);
  const Panels segments{p.out_width, d.kernel->mr, 1};
  for (std::ptrdiff_t i = 0; i < segments.count(); ++i) {
    const Panel segment = segments[i];
    const std::ptrdiff_t iw = segment.begin * p.stride_w - p.pad_left;
    const Output output =
        d.destination.tile(Lanes::channels, panel.begin, oh * p.out_width + segment.begin);
    // Without channels there may be no image to point into.
    const std::ptrdiff_t first = d.channels == 0 ? 0 : ih * p.row_stride + iw * p.column_stride;
    DirectTile tile{p.image + first,
                    d.filter_packed + panel.begin * k,
                    d.channels,
                    p.kernel_h,
                    p.kernel_w,
                    p.channel_stride,
                    p.dilation_h * p.row_stride,
                    p.dilation_w * p.column_stride,
                    p.stride_w * p.column_stride,
                    kh.begin,
                    kh.end,
                    ranges_of(p, iw, segment.valid, ranges),
                    static_cast<int>(panel.valid),
                    &output};
    if (p.kernel_h == 1 && p.kernel_w == 1 && tile.pixels == nullptr && kh.size() == 1) {
      // One tap a channel: the channels take the place of the filter's columns, in one inner loop
      // instead of three.
      tile.kernel_w = d.channels;
      tile.channels = 1;
      tile.tap_column_stride = p.channel_stride;
    }
    d.kernel->tile[segment.width - 1][panel.width / d.kernel->lanes - 1](tile);
  }
}

}  // namespace

std::ptrdiff_t direct_scratch(std::ptrdiff_t kernel_w) {
  return kernel_w * static_cast<std::ptrdiff_t>(sizeof(PixelRange) / sizeof(float));
}

void direct(const Direct& d, Range filter_panels, Range rows, float* scratch) noexcept {
  const Panels panels{d.filters, d.kernel->vectors * d.kernel->lanes, d.kernel->lanes};
  PixelRange* ranges = reinterpret_cast<PixelRange*>(scratch);
  // The image is read once for each block of panels, the weights of a block once for each row.
  for (std::ptrdiff_t ic = filter_panels.begin; ic < filter_panels.end; ic += d.panels_a_block) {
    const std::ptrdiff_t end = std::min(ic + d.panels_a_block, filter_panels.end);
    for (std::ptrdiff_t oh = rows.begin; oh < rows.end; ++oh) {
      for (std::ptrdiff_t i = ic; i < end; ++i) row_of_panel(d, panels[i], oh, ranges);
      if (!end_slice()) return;
    }
  }
}

}  // namespace gemmconv
