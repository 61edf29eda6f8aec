// SPDX-License-Identifier: MIT
// A strip: a padded copy of the part of an image that some rows and columns of the output read,
// cut apart by the stride, so that a tap's pixels of neighbouring outputs are neighbours.
#pragma once

#include <cstddef>

#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

// One axis of a strip. Either a slot for each phase of the stride, which the taps share, each at
// its shift; or one for each tap, where that is less to copy (large dilations, and strides that
// skip pixels).
struct StripAxis {
  std::ptrdiff_t taps, stride;
  std::ptrdiff_t slots, length;         // slots of so many positions, `stride` apart
  std::ptrdiff_t slot_step;             // between the first positions of two slots
  std::ptrdiff_t tap_slots, tap_shift;  // from tap to tap, before it wraps around at `slots`

  StripAxis(std::ptrdiff_t taps, std::ptrdiff_t stride, std::ptrdiff_t dilation,
            std::ptrdiff_t outputs);

  // Calls visit(slot, shift) for each tap.
  template <typename Visit>
  void for_each_tap(Visit visit) const {
    std::ptrdiff_t slot = 0;
    std::ptrdiff_t shift = 0;
    for (std::ptrdiff_t tap = 0; tap < taps; ++tap) {
      visit(slot, shift);
      slot += tap_slots;
      shift += tap_shift;
      if (slot < slots) continue;
      slot -= slots;
      ++shift;
    }
  }
};

class Strip {
 public:
  // For `rows` × `columns` outputs of all channels of the group.
  Strip(const StripKernel* kernel, const Patches& patches, std::ptrdiff_t channels,
        std::ptrdiff_t rows, std::ptrdiff_t columns);

  std::ptrdiff_t floats() const { return channels_ * channel_stride_; }
  // From a row of outputs to the next; columns are neighbours.
  std::ptrdiff_t row_stride() const { return columns_.length; }
  // Whether the pixels, of few channels and with no others, are copied by vectors in nhwc, too.
  bool splits() const { return patches_.stride_w == 1 || splits_pairs(); }
  // Whether of planes all phases of a stride are copied at once.
  bool splits_phases() const {
    return are_phases() && patches_.column_stride == 1 && patches_.stride_w > 2 &&
           patches_.stride_w <= kMostSplit;
  }
  // Where each step (c, kh, kw) of the first output lies.
  void locate_taps(std::ptrdiff_t* taps) const;
  // Copies what so many rows of outputs from (oh, ow) on read.
  void fill(std::ptrdiff_t oh, std::ptrdiff_t rows, std::ptrdiff_t ow, float* strip) const;

 private:
  void fill_line(std::ptrdiff_t ih, std::ptrdiff_t iw, float* line) const;
  std::ptrdiff_t slot_stride() const { return rows_.length * columns_.length; }
  // Those of pixels that have few channels and no others.
  bool splits_pairs() const {
    return are_phases() && patches_.stride_w == 2 && patches_.column_stride == channels_ &&
           channels_ >= 2 && channels_ <= kMostSplit;
  }
  bool are_phases() const { return columns_.slots == patches_.stride_w && columns_.slot_step == 1; }
  bool fill_phases(std::ptrdiff_t ih, std::ptrdiff_t iw, float* line) const;

  const StripKernel* kernel_;
  const Patches& patches_;
  std::ptrdiff_t channels_;
  std::ptrdiff_t out_rows_;
  StripAxis rows_, columns_;
  std::ptrdiff_t channel_stride_;
};

}  // namespace gemmconv
