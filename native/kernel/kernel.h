// SPDX-License-Identifier: MIT
// What a microkernel is: rows of data that the dispatch table holds and the algorithms call.
// Kernel sources see this header, vec.h and epilogue.h, and no standard header but <cstddef>: an
// inline library function compiled with AVX-512 flags becomes a weak symbol that the linker may
// choose for everyone, an illegal instruction on an older CPU.
#pragma once

#include <cstddef>

#include "output.h"
#include "strip_line.h"

namespace gemmconv {

// One register tile of C += A·B over k steps of one K block.
struct GemmTile {
  std::ptrdiff_t k;
  const float* a;  // k × rows, packed
  const float* b;  // k × (vectors · lanes), packed
  // The sum carried from K block to K block, rows × vectors · lanes, contiguous. Keeping it apart
  // from C makes every K block but the last ignorant of layout and ragged edges.
  float* partial;
  bool first, last;      // K blocks: the first starts from zero, the last finishes into `output`
  int valid_lanes;       // of the tile's vectors · lanes columns, how many exist in C
  const Output* output;  // c, add and bias already point at this tile
  // Steps of B to come, b_stride apart, of which one is asked for every ask_every steps. B's are as
  // far apart where a tile packs it.
  const float* ask;
  std::ptrdiff_t ask_every, b_stride;
  float* b_packed;
};

inline constexpr int kMaxLanes = 16, kMaxRows = 16, kMaxVectors = 4, kMaxPixelVectors = 8;

// tile[rows - 1][vectors - 1] computes a tile of exactly that shape. Having each row count as its
// own function lets rows be split evenly (64 = 13+13+13+13+12) instead of leaving a ragged tail.
struct GemmKernel {
  int lanes;    // floats in a vector
  int mr;       // most rows
  int vectors;  // most vectors a row; NR = vectors · lanes
  void (*tile[kMaxRows][kMaxVectors])(const GemmTile&);
  void (*packing[kMaxRows])(const GemmTile&);  // most vectors, copies B; null where there is none
  const struct FewRowsKernel* few_rows;        // few_rows.h
};

// What a row of the filter looks like to a tile, so that the usual ones get loops of their own.
enum class TapRow {
  one,        // a 1×1 filter, inside
  any,        // so many taps, all of them inside the image, and perhaps some left out
  cut,        // so many taps, each inside for some of the pixels
  three,      // three taps, all of them inside
  cut_three,  // three taps, inside but for the first of the first pixel, or the last of the last
  cut_sides,  // three taps, the middle one inside, the others for some of the pixels
  cut_ends,   // taps that lack some of the first pixels, one fewer each; whole ones; taps that lack
              // more and more of the last. Not all tiles have it.
};
inline constexpr int kTapRows = 7;
inline constexpr int kMostCut = 3;  // pixels that a tap of cut_ends may lack

// One register tile of a convolution read in place: up to mr neighbouring output pixels of a row
// by NR output channels. Tap (c, i, j) of pixel r is at
// x[c·channel_stride + i·tap_row_stride + j·tap_column_stride + r·pixel_stride]. Rows and taps of
// them that lie outside the image for all pixels are left out.
struct DirectTile {
  const float* x;
  const float* w;  // channels × all taps × NR
  std::ptrdiff_t channels, tap_rows, row_taps;
  std::ptrdiff_t channel_stride, tap_row_stride, tap_column_stride, pixel_stride;
  // Taps left out: of a channel before the first one; of each row; in rows of their own.
  std::ptrdiff_t first_tap, skipped_of_row, skipped_rows_taps;
  TapRow row;
  // Where `row` is cut: bit r of each tap of a row, whether it is inside. Of cut_ends: how many
  // taps lack some of the first pixels, none, some of the last.
  const unsigned* pixels;
  // What to ask for ahead of the image: relative to x, one step further for each channel.
  std::ptrdiff_t ahead, ahead_step;
  // What the taps ask for, one after the other: weights to come, or outputs.
  const float* ask;
  std::ptrdiff_t ask_step;
  // The sum carried from one block of channels to the next, as in GemmTile.
  float* partial;
  bool first, last;
  int valid_lanes;
  const Output* output;
  // Of a kernel that counts_asks: in so many taps of a 1×1 filter one asks.
  std::ptrdiff_t ask_every;
};

// The largest tile: up to so many rows of so many vectors.
struct TileShape {
  int mr, vectors;
};

struct DirectKernel {
  int lanes;
  TileShape usual;
  TileShape wide;    // fewer rows, of more vectors; no rows where there is none
  int taps_ahead;    // how early to ask for weights
  bool counts_asks;  // tiles of a 1×1 filter ask as often as they are told, not at every tap
  void (*tile[kTapRows][kMaxRows][kMaxVectors])(const DirectTile&);
};

// Neighbouring tiles of a row of outputs, of equally many pixels, and panels of filters that are
// whole and equally wide. The image has a pixel for every tap, or a copy with zeros has. Step k
// = (c, kh, kw) of the first pixel is at x[taps[k]].
struct DirectRowsRun {
  const float* x;
  std::ptrdiff_t pixel_stride;
  const std::ptrdiff_t* taps;
  std::ptrdiff_t k;
  const float* w;  // panels × k × width
  const float* bias;
  std::ptrdiff_t tiles, panels;
  float* c;  // channels are neighbours
  std::ptrdiff_t output_stride;
  float min, max;
};

struct DirectRowsKernel {
  int lanes;
  TileShape usual, wide;  // the largest; without rows where there is none
  // [whether sums are clamped]; null where tiles have too few pixels.
  void (*run[2][kMaxRows][kMaxVectors])(const DirectRowsRun&);
};

// One register tile of a convolution with pixels on the lanes: output channels by vectors of
// neighbouring output pixels. Step k = (c, kh, kw) of the first pixel is at x[taps[k]], those of
// its neighbours behind it.
struct DirectPixelsTile {
  const float* x;
  const std::ptrdiff_t* taps;
  // From step ask_first on, once in ask_every steps, the tile asks for what is at
  // x[asks[k] + ahead], and, if asks_for_outputs, for a row of outputs, so far ahead of its own.
  const std::ptrdiff_t* asks;
  std::ptrdiff_t ahead, ask_first, ask_every;
  bool asks_for_outputs;
  std::ptrdiff_t outputs_ahead;
  const float* w;  // k × rows
  std::ptrdiff_t k;
  // The outputs, neighbours in memory, lie on runs of lanes: first_run of them, then again and
  // again, after `gap` lanes that are none (the ends of a padded copy's rows), `run`.
  int outputs, first_run, run, gap;
  const Output* output;
  // Null, or else pixels of step k are taken for zeros where masks[steps[k] + lane] is zero, not
  // all ones; all of them are taken as they are where steps[k] is negative.
  const int* masks;
  const std::ptrdiff_t* mask_steps;
  int tiles;  // neighbours, of `repeat`
};

// The largest tiles: up to mr rows; of so many vectors, by rows - 1.
struct PixelTileShapes {
  int mr;
  int vectors[kMaxRows];
};

struct DirectPixelsKernel {
  int lanes;
  PixelTileShapes by_vectors;  // where outputs of a row are neighbours in memory
  PixelTileShapes transposed;  // where they are not
  void (*tile[kMaxRows][kMaxPixelVectors])(const DirectPixelsTile&);
  // [outputs of all two to four filters are neighbours, not those of a row][rows - 1], or null:
  // several largest tiles without asks and masks, of which all outputs exist, clamped, with no
  // residual.
  void (*repeat[2][kMaxRows])(const DirectPixelsTile&);
};

// A row of neighbouring outputs of a vector of filters that several groups share, by windows three
// wide. It is computed from a ring of rows of vectors, copies of the image's pixels: the rows that
// the windows see. On the way the tile copies some for the outputs below.
struct DirectGroupsTile {
  float *ring, *ring_end;
  std::ptrdiff_t ring_row;  // floats
  const float* row;         // of the ring, under the first row of taps
  std::ptrdiff_t kernel_h;
  // Of the windows, so many rows and columns are inside the image, and wanted.
  std::ptrdiff_t row_begin, row_end, column_begin, column_end;
  std::ptrdiff_t channels;  // of a group
  const int* sources;       // for each lane the first channel of its group
  const float* w;           // channels × kernel_h × three × lanes
  // What is copied of the columns: so many rows of the image to that of the ring, a few pixels
  // after each row of taps; and how far from there on is what to ask for.
  const float* next;
  std::ptrdiff_t next_row_stride, next_column_stride, next_rows, next_pixels;
  float* next_row;
  std::ptrdiff_t ahead;
  int pixels;
  const Output* output;  // its rows are pixels
  float* sums;           // null, or where they go instead, vector after vector
};

struct DirectGroupsKernel {
  using Tile = void (*)(const DirectGroupsTile&);
  int lanes;
  int pixels;    // most of a tile; none where the ISA has no such kernel
  Tile tile[2];  // windows that move on by one column, or by two
};

// A strip of pixels, each a vector of channels: rows of an image, or of an output, on their way
// from or to either layout.

// Copies a run of pixels, neighbours in memory, into a strip.
struct ChannelVectorsRead {
  const float* x;  // channel c of pixel p is at x[c·channel_stride + p·pixel_stride]
  std::ptrdiff_t channel_stride, pixel_stride;
  std::ptrdiff_t channels;  // of the vector's lanes, how many exist
  std::ptrdiff_t pixels;
  std::ptrdiff_t columns;  // so many pixels make a row of the strip
  float* strip;
  std::ptrdiff_t strip_row_stride;
};

// Finishes a run of pixels of a contiguous strip into `output`.
struct ChannelVectorsWrite {
  const float* strip;
  std::ptrdiff_t pixels, channels;
  bool transposed;  // rows of `output` are channels, its lanes pixels; else the other way round
  Output output;
};

struct ChannelVectorsKernel {
  void (*read)(const ChannelVectorsRead&);
  void (*write)(const ChannelVectorsWrite&);
  // What other kernels leave in memory, for the code of all activations is long: sums with bias,
  // rows × columns, of which the first `valid` exist; destroyed.
  void (*finish)(float* sums, int rows, int columns, int valid, const Output& output);
};

// The parts of a Winograd convolution F(t×t, k×k), a vector of channels at a time, whose pixels lie
// in strips.

// One tile of outputs, of which rows × columns exist, from its frequencies.
struct WinogradResult {
  const float* m;
  std::ptrdiff_t frequency_stride;
  float* strip;
  std::ptrdiff_t strip_row_stride, strip_pixel_stride, rows, columns;
};

struct WinogradTransforms {
  int tile;  // outputs along one side
  int taps;  // of the filter along one side
  int side;  // inputs along one side: tile + taps - 1; there are side² frequencies
  // The tile of inputs at `strip` to its frequencies, `frequency_stride` apart.
  void (*input)(const float* strip, std::ptrdiff_t strip_row_stride,
                std::ptrdiff_t strip_pixel_stride, float* v, std::ptrdiff_t frequency_stride);
  void (*output)(const WinogradResult&);
};

// M = V·U of one frequency, rows × vectors · lanes, contiguous.
struct WinogradProduct {
  std::ptrdiff_t channels;
  std::ptrdiff_t chain;  // so many channels are summed apart
  const float* v;        // ⌈channels / lanes⌉ × rows × lanes
  const float* u;        // channels × (vectors · lanes)
  const float* ahead;    // memory to ask for, ahead_step floats for each channel
  std::ptrdiff_t ahead_step;
  float* m;
};

struct WinogradKernel {
  int lanes;
  int mr;
  int vectors;
  WinogradTransforms f2, f4, f2_5x5;
  void (*product[kMaxRows][kMaxVectors])(const WinogradProduct&);
};

struct DepthwisePixelsKernel;
struct DepthwisePlanesKernel;
struct DepthwiseChannelsKernel;

// All of an ISA (kernels.cc).
struct Kernels {
  bool fuses;  // multiplies and adds with one rounding
  const GemmKernel* gemm;
  const DirectKernel* direct;
  const DirectRowsKernel* direct_rows;
  const DirectPixelsKernel* direct_pixels;
  const DirectGroupsKernel* direct_groups;
  const StripKernel* strip;
  const DepthwisePixelsKernel* depthwise_pixels;
  const DepthwisePlanesKernel* depthwise_planes;
  const DepthwiseChannelsKernel* depthwise_channels;
  const ChannelVectorsKernel* channel_vectors;
  const WinogradKernel* winograd;
};

}  // namespace gemmconv
