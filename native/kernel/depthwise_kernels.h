// SPDX-License-Identifier: MIT
// What kernel.h says of other microkernels, of depthwise convolutions'.
#pragma once

#include "kernel.h"

namespace gemmconv {

// A run of vectors of pixels along some rows of outputs of a depthwise convolution. Row i of the
// image under it starts at x[i·tap_row_stride]; lane l of vector m of output row r, tap (kh, kw) is
// in row r·step + kh, at columns[kw] + (m·lanes + l)·step.
struct DepthwisePixelsRun {
  const float* x;
  std::ptrdiff_t tap_row_stride;
  const std::ptrdiff_t* columns;
  std::ptrdiff_t kernel_h, kernel_w;
  std::ptrdiff_t rows, vectors;
  std::ptrdiff_t row_begin, row_end;  // what lies inside the image, and is under the output rows
  // vectors × kernel_w × lanes: all ones where the tap lies inside the image, else zero; null when
  // all do.
  const int* masks;
  // The weights of tap k that belong to vector m start at w[k·tap_stride + phase], of the bias at
  // bias[phase]; from vector to vector the phase goes on by phase_step, modulo period.
  const float* w;
  const float* bias;
  std::ptrdiff_t tap_stride, phase, phase_step, period;
  std::ptrdiff_t alike;  // so many vectors on, the phase is the same again
  // Of a run of one vector, how many lanes exist; whole vectors may be written before `end`.
  int valid_lanes;
  const float* end;
  // What to ask for of the image and of outputs, from where a 3×3 or 5×5 window is.
  std::ptrdiff_t ahead, output_ahead;
  bool streams;  // past the caches: outputs of such a window, whole lines
  const Output* output;
};

struct DepthwisePixelsKernel {
  using Run = void (*)(const DepthwisePixelsRun&);
  int lanes;
  bool can_stream;
  TileShape any, three, five;  // the largest tiles: of 3×3 and 5×5 windows, and of any others
  // [masked]: 3×3 and 5×5 windows, with steps of one; any window: one row with any step, several
  // with steps of one.
  Run run3[2], run5[2], single[2], several[2];
  // Vectors of one weight each.
  void (*spread)(const float* weights, std::ptrdiff_t count, float* vectors);
  // Before other threads are told of outputs that were streamed.
  void (*end_streaming)();
};

// The same rows of some neighbouring planes of a depthwise convolution of 3×3 or 5×5 windows, read
// in place. Row i of the image under the first plane's outputs starts at x[i·row_stride]; of output
// (r, p), tap (kh, kw) is in row r·step + kh, column p·step + kw.
struct DepthwisePlanesRun {
  const float* x;
  std::ptrdiff_t row_stride, plane_stride;
  std::ptrdiff_t planes, rows;        // of outputs
  std::ptrdiff_t row_begin, row_end;  // what lies inside the image, and is under these rows
  std::ptrdiff_t last;                // the first output of the last vectors of a row
  const int* inside;                  // all ones for each column of a row inside, else zero
  const float* w;                     // planes × taps
  const float* bias;
  float* c;  // whole vectors are written, beyond the last row, too
  std::ptrdiff_t output_row_stride, output_plane_stride;
  float min, max;
  // Of a kernel that computes two planes at once, how far on in images, filters and outputs the
  // other is.
  std::ptrdiff_t other, other_filter, other_output;
  std::ptrdiff_t ahead, output_ahead;  // what to ask for of the image and of outputs
};

struct DepthwisePlanesKernel {
  using Run = void (*)(const DepthwisePlanesRun&);
  int lanes;
  int vectors;     // most that are computed side by side
  bool masks_all;  // else, of steps of two, no more than half a window may lie beside the image
  // [3×3, 5×5 or 2×2]: steps of one, not of 2×2; steps of two, [vectors side by side - 1]; steps of
  // one, two planes half a vector wide at most at once, or such ends of two; 3×3, steps of two, of
  // planes whose outputs are a lane less than half a vector. Null where there is none.
  Run by_one[2], by_two[3][2], pair[2], pair_by_two;
  // So many sums with bias, destroyed, to neighbouring outputs.
  void (*finish)(float* sums, std::ptrdiff_t count, const Output& output);
};

// Filters that have depthwise kernels of their own: up to so wide, and windows of which the next is
// one or two columns further on.
inline constexpr int kDepthwiseWidths = 4, kDepthwiseSteps = 2;

// One register tile of a depthwise convolution with channels on the lanes, read in place: rows ×
// pixels outputs. Row i, column j of the image under it is at
// x[i·tap_row_stride + j·tap_column_stride]; output (r, p) has its first tap in row r·step, column
// p·step.
struct DepthwiseChannelsTile {
  const float* x;
  std::ptrdiff_t tap_row_stride, tap_column_stride;
  std::ptrdiff_t kernel_h, kernel_w, step;
  std::ptrdiff_t rows;
  std::ptrdiff_t row_begin, row_end, column_begin, column_end;  // what lies inside the image
  const float* w;  // tap k of the first channel is at w[k·tap_stride]
  std::ptrdiff_t tap_stride;
  // So many channels, at least a vector of them: vectors start at the first, from `second` on one
  // after the other, and the last ends where the channels do.
  std::ptrdiff_t channels, second;
  bool asks_below;  // for what the next tile below will read and write
  std::ptrdiff_t output_row_stride;
  const Output* output;  // its rows are pixels
  bool is_far;           // from L2
  // Such tiles below each other, inside the image but for columns, if bias and a clamp finish them
  // (else one); and from the image under one to that under the next.
  std::ptrdiff_t alike, image_below;
};

struct DepthwiseChannelsKernel {
  int lanes;
  int rows[kDepthwiseWidths];  // most rows of a tile[]
  int pixels;                  // most of a row of an any_tile
  bool asks_always;            // for the tile below, line by line, if its pixels are contiguous
  // As tile[], without pixels: the most of a row, and the fewest. None where there is no tile.
  int most_pixels[kDepthwiseWidths][kDepthwiseSteps],
      least_pixels[kDepthwiseWidths][kDepthwiseSteps];
  // [kernel_w / 2][step - 1][pixels - 1]; null where there is none.
  void (*tile[kDepthwiseWidths][kDepthwiseSteps][kMaxRows])(const DepthwiseChannelsTile&);
  // Any width and step, of one row: so many outputs, or [pixels - 1].
  void (*any_run)(const DepthwiseChannelsTile&, std::ptrdiff_t pixels);
  void (*any_tile[kMaxRows])(const DepthwiseChannelsTile&);
};

}  // namespace gemmconv
