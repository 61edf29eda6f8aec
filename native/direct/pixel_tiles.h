// SPDX-License-Identifier: MIT
// Runs of lanes of direct_pixels.cc, cut into the tiles that its kernel computes.
#pragma once

#include <cstddef>

#include "direct/direct_pixels.h"

namespace gemmconv {

// Where several tiles a call suffice, as many channels the hardware reads ahead of by itself, and
// better than calls of single tiles that ask (Zen 4, AVX2, nchw: 3×3 3->3@1080p 6.1 -> 5.1 ms, 5×5
// 3->3@720p 5.9 -> 5.4; 8->8@512 the same, 16->3@512 3.6 -> 5.0).
inline constexpr std::ptrdiff_t kReadAhead = 8;

// What tiles look up for each step of k: masks and where they begin, and what to ask for.
struct PixelTables {
  const int* masks;
  const std::ptrdiff_t *mask_steps, *asks;
};

// A run of lanes to compute, from the beginning of a row. They are the outputs from `pixel` on; but
// of every `row` lanes only the first `columns` are outputs.
struct PixelRun {
  const float* x;
  const std::ptrdiff_t* taps;
  std::ptrdiff_t pixel, lanes, columns, row;
  bool reads_on;
  const RowMasks* masks;  // null where all taps are inside
};

// Cuts runs into tiles of whole vectors, evenly.
class PixelTiles {
 public:
  PixelTiles(const DirectPixels& direct, const PixelTables& tables, std::ptrdiff_t first_panel);

  // Rows of outputs, so far apart in the image; false when nobody wants the result any more.
  bool compute(PixelRun run, std::ptrdiff_t rows, std::ptrdiff_t row_stride,
               Range filter_panels) const;

 private:
  struct Work;

  bool can_repeat(const Work& work) const;
  bool compute_run(const PixelRun& run, Work& work) const;
  int tiles_at_once(std::ptrdiff_t left, std::ptrdiff_t inside) const;
  std::ptrdiff_t vectors_of(std::ptrdiff_t left) const;
  bool panel(Work& work, std::ptrdiff_t i, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const;
  bool panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const;
  bool asking_panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const;

  const DirectPixels& d_;
  const PixelTables tables_;
  const std::ptrdiff_t first_panel_;
  const Panels panels_;
  const std::ptrdiff_t k_;
  const int lane_bits_;  // a division for every tile takes 1 % of a short sum
  const std::ptrdiff_t most_;
};

}  // namespace gemmconv
