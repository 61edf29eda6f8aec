// SPDX-License-Identifier: MIT
// Which taps lie inside the image, for lanes that run on from row to row of an image read in place:
// beyond an end of its row a tap would find pixels of the next or the last one.
#pragma once

#include <cstddef>

#include "pack.h"

namespace gemmconv {

class RowMasks {
 public:
  // For rows of outputs as far apart as the image's, in tiles of whole vectors up to `tile` lanes.
  RowMasks(const Patches& patches, std::ptrdiff_t vector, std::ptrdiff_t tile);

  std::ptrdiff_t floats() const;
  // After so many lanes from the beginning of a row masks are the same again.
  std::ptrdiff_t period() const { return period_; }
  // How many lanes from a column on need none.
  std::ptrdiff_t inside_from(std::ptrdiff_t column) const {
    return column >= safe_.begin ? std::max<std::ptrdiff_t>(safe_.end - column, 0) : 0;
  }

  // masks: of the lanes of a period and a tile, for each filter column that some output has
  // outside.
  void fill(int* masks) const;
  // Where the masks of each step (c, kh, kw) begin; negative where it has none.
  void locate(std::ptrdiff_t channels, std::ptrdiff_t* steps) const;

 private:
  std::ptrdiff_t shift(std::ptrdiff_t kw) const { return kw * p_.dilation_w - p_.pad_left; }
  bool has_mask(std::ptrdiff_t kw) const {
    return shift(kw) < 0 || p_.out_width + shift(kw) > p_.width;
  }

  const Patches& p_;
  const std::ptrdiff_t period_, length_;
  const Range safe_;  // columns whose taps are all inside
};

}  // namespace gemmconv
