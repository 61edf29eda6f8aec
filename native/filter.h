// SPDX-License-Identifier: MIT
// The packed filter: for each group its bias and its panels, one after another in one buffer.
#pragma once

#include <cstddef>

#include "conv2d.h"
#include "pack.h"

namespace gemmconv {

// How one group's filters are cut into panels under this plan.
Panels filter_panels(const Conv2dPlan& plan);

std::size_t packed_bytes(const Conv2dPlan& plan);

// Plans of one layer with equal values read the same packed filter.
int packed_format(const Conv2dPlan& plan);

// filter: the user's, in its layout; bias: out_channels values, null for zeros.
// packed: packed_bytes(plan) bytes, aligned to a cache line.
void pack(const Conv2dPlan& plan, const float* filter, const float* bias, float* packed);

const float* group_bias(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group);
const float* group_filter(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group);

}  // namespace gemmconv
