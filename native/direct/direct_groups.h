// SPDX-License-Identifier: MIT
// Direct convolution of nhwc images in groups of which a vector holds several, or one: output
// channels of neighbouring groups on the lanes, windows three wide. Reads copies of the image's
// rows, padded taps skipped. Exact.
#pragma once

#include <cstddef>

#include "destination.h"
#include "kernel/kernel.h"
#include "pack.h"

namespace gemmconv {

struct DirectGroups {
  const DirectGroupsKernel* kernel;
  const ChannelVectorsKernel* vectors;
  std::ptrdiff_t channels;        // of all groups, as many as filters; at least a vector
  std::ptrdiff_t group_channels;  // divide a vector
  const float* weights;           // vectors of filters × k × lanes
  Patches patches;                // of all channels
  Destination destination;        // of all filters

  std::ptrdiff_t k() const { return group_channels * patches.kernel_h * patches.kernel_w; }
};

// Whether there is a kernel for windows of such patches.
bool has_direct_groups(const Patches& patches);

// What rows of one vector take: tiles, and rows that none above has copied; and for each channel of
// a group and row of taps the pixels that these permute, and the multiply-adds in vain, of outputs
// that a tile has room for, beside its last ones.
struct DirectGroupsWork {
  std::ptrdiff_t tiles, new_rows, columns, in_vain;
};
DirectGroupsWork direct_groups_row(const DirectGroups& groups);

// Floats of scratch that `direct_groups` needs.
std::ptrdiff_t direct_groups_scratch(const DirectGroups& groups);

// Computes a range of output rows of a range of vectors of filters. A last one that would not be
// whole ends where the filters do, and overlaps the one before it: one range has both.
void direct_groups(const DirectGroups& groups, Range vectors, Range rows, float* scratch) noexcept;

}  // namespace gemmconv
