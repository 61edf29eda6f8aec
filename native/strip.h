// SPDX-License-Identifier: MIT
// A strip: a padded copy of the part of an image that some rows and columns of the output read,
// cut apart by the stride, so that a tap's pixels of neighbouring outputs are neighbours.
#pragma once

#include <cstddef>

#include "pack.h"

namespace gemmconv {

// One axis of a strip. Either a slot for each phase of the stride, which the taps share, each at
// its shift; or one for each tap, where that is less to copy (large dilations, and strides that
// skip pixels).
struct StripAxis {
  std::ptrdiff_t stride, slots, length;  // positions of a slot
  std::ptrdiff_t slot_step;              // between the first pixels of two slots
  std::ptrdiff_t tap_step;               // between two taps; 0 where each has a slot

  StripAxis(std::ptrdiff_t taps, std::ptrdiff_t stride, std::ptrdiff_t dilation,
            std::ptrdiff_t outputs);
  std::ptrdiff_t slot(std::ptrdiff_t tap) const {
    return tap_step == 0 ? tap : tap * tap_step % stride;
  }
  std::ptrdiff_t shift(std::ptrdiff_t tap) const { return tap * tap_step / stride; }
  std::ptrdiff_t begin(std::ptrdiff_t slot) const { return slot * slot_step; }
};

class Strip {
 public:
  // For `rows` × `columns` outputs of all channels of the group.
  Strip(const Patches& patches, std::ptrdiff_t channels, std::ptrdiff_t rows,
        std::ptrdiff_t columns);

  std::ptrdiff_t floats() const { return channels_ * channel_stride_; }
  // From a row of outputs to the next; columns are neighbours.
  std::ptrdiff_t row_stride() const { return columns_.length; }
  // Where each step (c, kh, kw) of the first output lies.
  void locate_taps(std::ptrdiff_t* taps) const;
  // Copies what the outputs from (oh, ow) on read.
  void fill(std::ptrdiff_t oh, std::ptrdiff_t ow, float* strip) const;

 private:
  void fill_line(std::ptrdiff_t ih, std::ptrdiff_t iw, float* line) const;

  const Patches& patches_;
  std::ptrdiff_t channels_;
  StripAxis rows_, columns_;
  std::ptrdiff_t channel_stride_;
};

}  // namespace gemmconv
