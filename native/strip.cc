// SPDX-License-Identifier: MIT
#include "strip.h"

namespace gemmconv {

StripAxis::StripAxis(std::ptrdiff_t taps, std::ptrdiff_t stride_, std::ptrdiff_t dilation,
                     std::ptrdiff_t outputs)
    : stride(stride_),
      slots(stride_),
      length(outputs + (taps - 1) * dilation / stride_),
      slot_step(1),
      tap_step(dilation) {
  if (slots * length <= taps * outputs) return;
  slots = taps;
  length = outputs;
  slot_step = dilation;
  tap_step = 0;
}

Strip::Strip(const Patches& p, std::ptrdiff_t channels, std::ptrdiff_t rows, std::ptrdiff_t columns)
    : patches_(p),
      channels_(channels),
      rows_(p.kernel_h, p.stride_h, p.dilation_h, rows),
      columns_(p.kernel_w, p.stride_w, p.dilation_w, columns),
      channel_stride_(rows_.slots * rows_.length * columns_.slots * columns_.length) {}

void Strip::locate_taps(std::ptrdiff_t* taps) const {
  for (std::ptrdiff_t c = 0; c < channels_; ++c) {
    for (std::ptrdiff_t kh = 0; kh < patches_.kernel_h; ++kh) {
      for (std::ptrdiff_t kw = 0; kw < patches_.kernel_w; ++kw) {
        const std::ptrdiff_t slot = rows_.slot(kh) * columns_.slots + columns_.slot(kw);
        *taps++ = c * channel_stride_ + (slot * rows_.length + rows_.shift(kh)) * columns_.length +
                  columns_.shift(kw);
      }
    }
  }
}

void Strip::fill(std::ptrdiff_t oh, std::ptrdiff_t ow, float* strip) const {
  const std::ptrdiff_t ih = oh * patches_.stride_h - patches_.pad_top;
  const std::ptrdiff_t iw = ow * patches_.stride_w - patches_.pad_left;
  for (std::ptrdiff_t s = 0; s < rows_.slots; ++s) {
    for (std::ptrdiff_t t = 0; t < columns_.slots; ++t) {
      float* line = strip + (s * columns_.slots + t) * rows_.length * columns_.length;
      for (std::ptrdiff_t i = 0; i < rows_.length; ++i) {
        fill_line(ih + rows_.begin(s) + i * rows_.stride, iw + columns_.begin(t),
                  line + i * columns_.length);
      }
    }
  }
}

// The line of every channel.
void Strip::fill_line(std::ptrdiff_t ih, std::ptrdiff_t iw, float* line) const {
  const Patches& p = patches_;
  const std::ptrdiff_t count = columns_.length;
  const bool row_exists = ih >= 0 && ih < p.height;
  const Range range = row_exists ? inside(iw, p.stride_w, p.width, count) : Range{0, 0};
  const std::ptrdiff_t step = p.stride_w * p.column_stride;
  const bool is_empty = range.begin == range.end;
  const float* src = p.image;
  if (!is_empty) {
    src += ih * p.row_stride + (iw + range.begin * p.stride_w) * p.column_stride;
  }
  for (std::ptrdiff_t c = 0; c < channels_; ++c) {
    zero_run(line + c * channel_stride_, range.begin);
    zero_run(line + c * channel_stride_ + range.end, count - range.end);
  }
  line += range.begin;
  if (p.channel_stride == 1 && p.column_stride != 1) {
    transpose_runs(line, channel_stride_, src, step, range.size(), channels_);
    return;
  }
  for (std::ptrdiff_t c = 0; c < channels_; ++c) {
    gather_run(line + c * channel_stride_, src + c * p.channel_stride, step, range.size());
  }
}

}  // namespace gemmconv
