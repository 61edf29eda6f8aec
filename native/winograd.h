// SPDX-License-Identifier: MIT
// Winograd convolution F(2×2, 3×3) and F(4×4, 3×3): 3×3 filters, stride 1, dilation 1. Tiles of 4×4
// (6×6) inputs and the filters are transformed to 16 (36) frequencies, multiplied there, and the
// products transformed back to tiles of 2×2 (4×4) outputs: 2.25 (4) times fewer multiplications.
// Tiles are taken a block at a time, so that the workspace does not depend on the image.
//
// Not exact. An output's error is at most factor · 2^-24 · Σ |w| · max|x|, summed over channels and
// taps, the maximum taken over the tile's inputs of the channel; factor is 9 for F(2×2) and 50 for
// F(4×4). (With all inputs of one size it is small beside the output's own Σ|x·w|, too: 6 · 2^-24
// of it was the worst on layers with N(0, 1) inputs.) A value that is not finite spreads over its
// tile, and padding is multiplied, not skipped. Yet the bits do not depend on how the work is
// divided.
#pragma once

#include <cstddef>

#include "destination.h"
#include "gemm.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct Winograd {
  const WinogradKernel* kernel;
  const WinogradTransforms* transforms;  // &kernel->f2 or &kernel->f4
  std::ptrdiff_t filters, channels;      // of the group
  const float* filter_packed;
  Patches patches;  // of the first image
  std::ptrdiff_t out_height;
  Destination destination;  // of the first image
  // Several images are one long run of tiles, so that small planes share the cost of reading U.
  std::ptrdiff_t batch, image_stride, destination_stride;
  std::ptrdiff_t block_tiles;  // by winograd_block_tiles

  Panels filter_panels() const { return {filters, kernel->vectors * kernel->lanes, kernel->lanes}; }
  std::ptrdiff_t tile_rows() const {
    return (out_height + transforms->tile - 1) / transforms->tile;
  }
  std::ptrdiff_t tile_columns() const {
    return (patches.out_width + transforms->tile - 1) / transforms->tile;
  }
  std::ptrdiff_t tiles() const { return batch * tile_rows() * tile_columns(); }
};

// U = G·g·Gᵀ of each filter and channel, computed in double and rounded once. Panel after panel of
// filters: frequency, channel, filter. packed: side² × channels × panels.stored() floats.
void winograd_pack(const FilterView& filter, const Panels& panels,
                   const WinogradTransforms& transforms, float* packed);

// How many tiles make a good block.
std::ptrdiff_t winograd_block_tiles(const WinogradKernel& kernel,
                                    const WinogradTransforms& transforms, std::ptrdiff_t channels);

// Floats of scratch that `winograd` needs.
std::ptrdiff_t winograd_scratch(const Winograd& winograd);

// Computes the filters of a range of filter panels at a range of tiles of all images, row-major.
// Ranges may be cut anywhere.
void winograd(const Winograd& winograd, Range filter_panels, Range tiles, float* scratch) noexcept;

}  // namespace gemmconv
