// SPDX-License-Identifier: MIT
#include "strip.h"

#include <algorithm>

#include "lines.h"

namespace gemmconv {

StripAxis::StripAxis(std::ptrdiff_t taps_, std::ptrdiff_t stride_, std::ptrdiff_t dilation,
                     std::ptrdiff_t outputs)
    : taps(taps_),
      stride(stride_),
      slots(stride_),
      length(outputs + (taps_ - 1) * dilation / stride_),
      slot_step(1),
      tap_slots(dilation % stride_),
      tap_shift(dilation / stride_) {
  if (slots * length <= taps * outputs) return;
  slots = taps;
  length = outputs;
  slot_step = dilation;
  tap_slots = 1;
  tap_shift = 0;
}

Strip::Strip(const StripKernel* kernel, const Patches& p, std::ptrdiff_t channels,
             std::ptrdiff_t rows, std::ptrdiff_t columns)
    : kernel_(kernel),
      patches_(p),
      channels_(channels),
      out_rows_(rows),
      rows_(p.kernel_h, p.stride_h, p.dilation_h, rows),
      columns_(p.kernel_w, p.stride_w, p.dilation_w, columns),
      channel_stride_(odd_lines(rows_.slots * rows_.length * columns_.slots * columns_.length)) {}

void Strip::locate_taps(std::ptrdiff_t* taps) const {
  std::ptrdiff_t* tap = taps;
  rows_.for_each_tap([&](std::ptrdiff_t row_slot, std::ptrdiff_t row_shift) {
    columns_.for_each_tap([&](std::ptrdiff_t column_slot, std::ptrdiff_t column_shift) {
      const std::ptrdiff_t slot = row_slot * columns_.slots + column_slot;
      *tap++ = (slot * rows_.length + row_shift) * columns_.length + column_shift;
    });
  });
  repeat_steps(taps, tap - taps, channels_, channel_stride_);
}

void Strip::fill(std::ptrdiff_t oh, std::ptrdiff_t rows, std::ptrdiff_t ow, float* strip) const {
  const std::ptrdiff_t ih = oh * patches_.stride_h - patches_.pad_top;
  const std::ptrdiff_t iw = ow * patches_.stride_w - patches_.pad_left;
  const std::ptrdiff_t lines = rows_.length - (out_rows_ - rows);
  for (std::ptrdiff_t s = 0; s < rows_.slots; ++s) {
    for (std::ptrdiff_t i = 0; i < lines; ++i) {
      float* const first = strip + (s * columns_.slots * rows_.length + i) * columns_.length;
      const std::ptrdiff_t row = ih + s * rows_.slot_step + i * rows_.stride;
      if (fill_phases(row, iw, first)) continue;
      // Slots of columns inside, which read the same lines of the image.
      for (std::ptrdiff_t t = 0; t < columns_.slots; ++t) {
        fill_line(row, iw + t * columns_.slot_step, first + t * slot_stride());
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
  const StripLine copy{src,         p.channel_stride, step,
                       line,        channel_stride_,  channels_,
                       range.begin, range.size(),     count - range.end};
  if (p.channel_stride != 1 || p.column_stride == 1) {
    kernel_->copy_line(copy);
    return;
  }
  for (std::ptrdiff_t c = 0; c < channels_; ++c) {
    zero_run(line + c * channel_stride_, range.begin);
    zero_run(line + c * channel_stride_ + range.end, count - range.end);
  }
  if (step == channels_ && channels_ <= kMostSplit && range.size() >= kernel_->lanes) {
    kernel_->split[channels_ - 2](src, range.size(), line + range.begin, channel_stride_);
    return;
  }
  transpose_runs<true>(line + range.begin, channel_stride_, src, step, range.size(), channels_);
}

// The lines of all slots, where these are the phases of the stride, of what is inside the image in
// each; false where it is to be done slot by slot.
bool Strip::fill_phases(std::ptrdiff_t ih, std::ptrdiff_t iw, float* line) const {
  const Patches& p = patches_;
  const std::ptrdiff_t count = columns_.length;
  if (ih < 0 || ih >= p.height || !(splits_phases() || splits_pairs())) return false;
  const Range first = inside(iw, p.stride_w, p.width, count);
  const Range last = inside(iw + p.stride_w - 1, p.stride_w, p.width, count);
  const Range both{std::max(first.begin, last.begin), std::min(first.end, last.end)};
  if (both.size() < kernel_->lanes) return false;
  const float* const row = p.image + ih * p.row_stride;
  const float* const src = row + (iw + both.begin * p.stride_w) * p.column_stride;
  if (splits_pairs()) {
    kernel_->split_pairs[channels_ - 2](src, both.size(), line + both.begin,
                                        line + slot_stride() + both.begin, channel_stride_);
  } else {
    // As if they were channels.
    for (std::ptrdiff_t c = 0; c < channels_; ++c) {
      kernel_->split[p.stride_w - 2](src + c * p.channel_stride, both.size(),
                                     line + c * channel_stride_ + both.begin, slot_stride());
    }
  }
  const auto copy = [&](std::ptrdiff_t i) {
    for (std::ptrdiff_t t = 0; t < columns_.slots; ++t) {
      const std::ptrdiff_t x = iw + t + i * p.stride_w;
      const bool exists = x >= 0 && x < p.width;
      for (std::ptrdiff_t c = 0; c < channels_; ++c) {
        line[c * channel_stride_ + t * slot_stride() + i] =
            exists ? row[x * p.column_stride + c * p.channel_stride] : 0.0f;
      }
    }
  };
  for (std::ptrdiff_t i = 0; i < both.begin; ++i) copy(i);
  for (std::ptrdiff_t i = both.end; i < count; ++i) copy(i);
  return true;
}

}  // namespace gemmconv
