// SPDX-License-Identifier: MIT
// Winograd convolution F(2×2, 3×3), F(4×4, 3×3) and F(2×2, 5×5): 3×3 and 5×5 filters, stride 1.
// Tiles of 4×4 (6×6) inputs and the filters are transformed to 16 (36) frequencies, multiplied
// there, and the products transformed back to tiles of 2×2 or 4×4 outputs: 2.25, 4 and 2.78 times
// fewer multiplications.
// Tiles are taken a block at a time, so that the workspace does not depend on the image.
//
// Under a dilation of d the outputs of every d-th row and column are a convolution of dilation 1 of
// every d-th row and column of the image: d² interleaved ones. Tiles of those that begin in
// neighbouring columns lie interleaved, too: d of them are a span, t·d outputs broad. (Without
// dilation a span is a tile.)
//
// Not exact. An output's error is at most factor · 2^-24 · Σ |w| · max|x|, summed over channels and
// taps, the maximum taken over the tile's inputs of the channel; factor is 9 for F(2×2, 3×3), 50
// for F(4×4, 3×3) and 26 for F(2×2, 5×5). (With all inputs of one size it is small beside the
// output's own Σ|x·w|, too: 6 · 2^-24 of it was the worst on 3×3 layers with N(0, 1) inputs.) A
// value that is not finite spreads over its tile, and padding is multiplied, not skipped. Yet the
// bits do not depend on how the work is divided.
#pragma once

#include <cstddef>

#include "destination.h"
#include "gemm/gemm.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct Winograd {
  const WinogradKernel* kernel;
  const ChannelVectorsKernel* vectors;
  const WinogradTransforms* transforms;  // &kernel->f2, say
  std::ptrdiff_t filters, channels;      // of the group
  const float* filter_packed;
  Patches patches;  // of the first image
  std::ptrdiff_t out_height;
  Destination destination;  // of the first image
  // Several images are one long run of spans, so that small planes share the cost of reading U.
  std::ptrdiff_t batch, image_stride, destination_stride;
  std::ptrdiff_t block_spans;  // by winograd_block_spans

  Panels filter_panels() const { return {filters, kernel->vectors * kernel->lanes, kernel->lanes}; }
  // Of each of the interleaved images; some have a row or a column less than the first.
  std::ptrdiff_t span_rows() const {
    return ceil_div(ceil_div(out_height, patches.dilation_h), transforms->tile);
  }
  std::ptrdiff_t span_columns() const {
    return ceil_div(patches.out_width, transforms->tile * patches.dilation_w);
  }
  std::ptrdiff_t spans() const { return batch * patches.dilation_h * span_rows() * span_columns(); }

 private:
  static std::ptrdiff_t ceil_div(std::ptrdiff_t a, std::ptrdiff_t b) { return (a + b - 1) / b; }
};

// U = G·g·Gᵀ of each filter and channel, computed in double and rounded once. Panel after panel of
// filters: frequency, channel, filter. packed: side² × channels × panels.stored() floats.
void winograd_pack(const FilterView& filter, const Panels& panels,
                   const WinogradTransforms& transforms, float* packed);

// How many spans make a good block.
std::ptrdiff_t winograd_block_spans(const WinogradKernel& kernel,
                                    const WinogradTransforms& transforms, std::ptrdiff_t channels,
                                    std::ptrdiff_t dilation_w);

// Floats of scratch that `winograd` needs.
std::ptrdiff_t winograd_scratch(const Winograd& winograd);

// Computes the filters of a range of filter panels at a range of spans of all images, row-major.
// Ranges may be cut anywhere.
void winograd(const Winograd& winograd, Range filter_panels, Range spans, float* scratch) noexcept;

}  // namespace gemmconv
