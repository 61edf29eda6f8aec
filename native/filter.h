// SPDX-License-Identifier: MIT
// The packed filter, one buffer: the bias, then the weights of each group as the plan's algorithm
// wants them.
#pragma once

#include <cstddef>

#include "conv2d.h"

namespace gemmconv {

std::size_t packed_bytes(const Conv2dPlan& plan);

// Plans of one layer with equal values read the same packed filter.
int packed_format(const Conv2dPlan& plan);

// filter: the user's, in its layout; bias: out_channels values, null for zeros.
// packed: packed_bytes(plan) bytes, aligned to a cache line.
void pack(const Conv2dPlan& plan, const float* filter, const float* bias, float* packed);

// About how long that takes.
double pack_ns(const Conv2dPlan& plan);

// out_channels values, and at least one widest tile of floats behind them: kernels read bias by
// whole vectors.
inline const float* packed_bias(const float* packed) { return packed; }

const float* packed_weights(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group);

}  // namespace gemmconv
