// SPDX-License-Identifier: MIT
// The part of the image under tiles of pixels: read in place, or from a copy where neighbouring
// pixels of nhwc push each other out of L1.
#pragma once

#include "direct/direct.h"

namespace gemmconv {

// Where a tile of pixels stands in the output, and its first tap in the image.
struct Tile {
  std::ptrdiff_t oh;
  Panel segment;
  std::ptrdiff_t ih, iw;
};

// Where tiles read their pixels: between taps, between pixels. Apart from where a tile begins: with
// it, through memory, they kept each tile waiting for 20 cycles (Zen 4; 3×3 3->16@32 nhwc 9.8 ->
// 8.8 us).
struct SourceStrides {
  std::ptrdiff_t row, column, pixel;
};

// What the taps of so many rows of so many outputs read: rows and columns that some tap wants.
struct Window {
  std::ptrdiff_t rows, columns;
  std::ptrdiff_t row_step, column_step;  // in the image
  // In the window, from tap to tap and from output to output.
  std::ptrdiff_t tap_rows, tap_columns;
  std::ptrdiff_t output_rows, output_columns;

  Window(const Patches& patches, std::ptrdiff_t out_rows, std::ptrdiff_t pixels);
};

// Whether pixels under a tile of so many would push each other out.
bool pixels_collide(const Direct& direct, std::ptrdiff_t pixels);

// For blocks of which all else is known.
std::ptrdiff_t rows_of_window(const Direct& direct);

// Floats of one copy, and cache lines copied in all.
std::ptrdiff_t window_floats(const Direct& direct);
std::ptrdiff_t copied_lines(const Direct& direct);

class CopiedWindow {
 public:
  // No rows of outputs from `oh_end` on are wanted. floats: window_floats(direct) of them.
  CopiedWindow(const Direct& direct, Range channels, std::ptrdiff_t oh_end, float* floats);

  SourceStrides strides() const;
  // Tap (0, 0) of a tile's first pixel, whether it exists or not. Copies what is not there yet.
  // Tiles come row by row.
  const float* source(const Tile& tile);

 private:
  // Rows of the window, of which the first tap is at (ih, iw).
  void copy(std::ptrdiff_t rows, std::ptrdiff_t ih, std::ptrdiff_t iw);

  const Direct& d_;
  const Window window_;
  const Range channels_;
  const std::ptrdiff_t oh_end_;
  const std::ptrdiff_t pixel_, line_;  // of the copy, in floats
  float* const floats_;
  Range rows_{0, 0};  // of outputs, under which the window lies
};

}  // namespace gemmconv
