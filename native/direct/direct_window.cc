// SPDX-License-Identifier: MIT
#include "direct/direct_window.h"

#include <algorithm>
#include <numeric>

#include "lines.h"
#include "system/cpu.h"

namespace gemmconv {
namespace {

// From so many floats on a call to memcpy is repaid.
constexpr std::ptrdiff_t kShortRun = 64;

Window window_of(const Direct& d) {
  return d.blocks.rows == 0 ? Window(d.patches, 1, d.segments().widest())
                            : Window(d.patches, d.blocks.rows, d.patches.out_width);
}

}  // namespace

Window::Window(const Patches& p, std::ptrdiff_t out_rows, std::ptrdiff_t pixels)
    : rows(p.kernel_h),
      row_step(p.dilation_h),
      column_step(1),
      tap_rows(1),
      tap_columns(p.dilation_w),
      output_rows(0),
      output_columns(p.stride_w) {
  if (out_rows > 1) {
    rows = (out_rows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1;
    row_step = 1;
    tap_rows = p.dilation_h;
    output_rows = p.stride_h;
  }
  if (p.kernel_w == 1) {
    column_step = p.stride_w;
    output_columns = 1;
  }
  columns = (pixels - 1) * output_columns + (p.kernel_w - 1) * p.dilation_w + 1;
}

// Neighbouring pixels of an nhwc image that are 2 KB or a multiple apart fall into one or two sets
// of L1 and push each other out: in place, 1×1 1024@14 reaches 76 % of peak, 3×3 stride 2 512@14 42
// % (Zen 4). 4 KB a way and 8 ways: every x86 core has at least that. Less than a quarter more
// lines than fit do no harm. From 1 KB on down the copy costs more than it saves; unless tiles are
// a vector wide, so that half as many multiply-adds hide the misses (groups of 8 to 16 filters of
// 256@56 and 128@56, stride 2: 0.46 to 0.88 of the time; of 256@28: 0.80 to 0.92). Nor do tiles of
// few pixels hide them, at 1 KB (AVX2: 3×3 256@28, dilation 4: 0.75; 5×5 256@14: 0.86); nor does
// Sapphire Rapids, from 512 bytes on (3×3, AVX-512: 256@56 0.89, eight of 256@14 0.92, 128@28 0.95;
// with steps of two 128@56 0.78 to 1).
constexpr int kFewPixels = 6;

bool pixels_collide(const Direct& d, std::ptrdiff_t pixels) {
  constexpr std::ptrdiff_t kWayFloats = 1024, kWays = 8;
  const Patches& p = d.patches;
  const Window window(p, 1, pixels);
  // No step leads beyond the row: strides may be any number.
  const std::ptrdiff_t distance = p.column_stride * std::min(window.column_step, p.width);
  const std::ptrdiff_t sets = kWayFloats / std::gcd(distance, kWayFloats);
  const bool is_narrow = d.filters <= d.kernel->lanes;
  const bool hides_few = is_narrow || core_traits().l3_is_far;
  const std::ptrdiff_t most = hides_few ? 8 : d.tile.mr <= kFewPixels ? 4 : 2;
  return p.channel_stride == 1 && distance >= kLineFloats && sets <= most &&
         4 * window.rows * window.columns >= 5 * sets * kWays;
}

// Half of L1 for a window of whole rows, so that neighbouring rows of outputs share what they both
// read (Zen 4, nhwc: 3×3 512@14 in 32 groups 0.310 -> 0.287 ms, 256@28 in 16 0.632 -> 0.583).
std::ptrdiff_t rows_of_window(const Direct& d) {
  const Patches& p = d.patches;
  if (p.dilation_h != 1 || p.kernel_h <= p.stride_h) return 0;
  const auto most = static_cast<std::ptrdiff_t>(cache_sizes().l1 / 2 / sizeof(float));
  std::ptrdiff_t rows = 0;
  for (; rows < d.out_height; ++rows) {
    const Window window(p, rows + 1, p.out_width);
    if (window.rows * window.columns * odd_lines(d.blocks.channels) > most) break;
  }
  return rows > 1 ? rows : 0;
}

std::ptrdiff_t window_floats(const Direct& d) {
  if (!d.blocks.copies) return 0;
  const Window window = window_of(d);
  return window.rows * window.columns * odd_lines(d.blocks.channels);
}

std::ptrdiff_t copied_lines(const Direct& d) {
  if (!d.blocks.copies) return 0;
  const Window window = window_of(d);
  const std::ptrdiff_t panels = d.filter_panels().count();
  const std::ptrdiff_t times = (panels + d.blocks.panels - 1) / d.blocks.panels;
  const std::ptrdiff_t windows =
      d.blocks.rows == 0 ? d.tiles() : (d.out_height + d.blocks.rows - 1) / d.blocks.rows;
  return window.rows * window.columns * lines_of(d.channels) * windows * times;
}

CopiedWindow::CopiedWindow(const Direct& direct, Range channels, std::ptrdiff_t oh_end,
                           float* floats)
    : d_(direct),
      window_(window_of(direct)),
      channels_(channels),
      oh_end_(oh_end),
      pixel_(odd_lines(channels.size())),
      line_(window_.columns * pixel_),
      floats_(floats) {}

void CopiedWindow::copy(std::ptrdiff_t rows, std::ptrdiff_t ih, std::ptrdiff_t iw) {
  const Patches& p = d_.patches;
  const Range down = inside(ih, window_.row_step, p.height, rows);
  const Range across = inside(iw, window_.column_step, p.width, window_.columns);
  for (std::ptrdiff_t i = down.begin; i < down.end; ++i) {
    const float* row = p.image + (ih + i * window_.row_step) * p.row_stride + channels_.begin;
    for (std::ptrdiff_t j = across.begin; j < across.end; ++j) {
      const float* pixel = row + (iw + j * window_.column_step) * p.column_stride;
      float* copy = floats_ + i * line_ + j * pixel_;
      if (channels_.size() <= kShortRun) {
        copy_run(copy, pixel, channels_.size());
      } else {
        std::copy_n(pixel, channels_.size(), copy);
      }
    }
  }
}

SourceStrides CopiedWindow::strides() const {
  return {window_.tap_rows * line_, window_.tap_columns * pixel_, window_.output_columns * pixel_};
}

const float* CopiedWindow::source(const Tile& tile) {
  const float* x = floats_;
  if (d_.blocks.rows == 0) {
    copy(window_.rows, tile.ih, tile.iw);
  } else {
    if (tile.oh >= rows_.end) {
      rows_ = {tile.oh, std::min(tile.oh + d_.blocks.rows, oh_end_)};
      const std::ptrdiff_t unwanted = (d_.blocks.rows - rows_.size()) * window_.output_rows;
      copy(window_.rows - unwanted, tile.ih, -d_.patches.pad_left);
    }
    x += (tile.oh - rows_.begin) * window_.output_rows * line_ +
         tile.segment.begin * window_.output_columns * pixel_;
  }
  return x;
}

}  // namespace gemmconv
