// SPDX-License-Identifier: MIT
// One image and group of the tensors, as the algorithms see them: strides instead of layouts.
#pragma once

#include <cstddef>

#include "conv2d.h"
#include "destination.h"
#include "pack.h"

namespace gemmconv {

FilterView filter_view(const Conv2dProblem& problem, const float* filter, std::ptrdiff_t group);

Patches patches_of(const Conv2dProblem& problem, const float* input, std::ptrdiff_t image,
                   std::ptrdiff_t group);

// Under a 1×1 filter that skips nothing, an image is one long row: tiles and panels cross its rows.
bool is_pointwise(const Conv2dProblem& problem);
Patches flattened(const Patches& patches);
// Flattened if it is such a filter.
Patches long_patches_of(const Conv2dProblem& problem, const float* input, std::ptrdiff_t image,
                        std::ptrdiff_t group);

Destination destination_of(const Conv2dPlan& plan, const Conv2dTensors& tensors,
                           std::ptrdiff_t image, std::ptrdiff_t group);

}  // namespace gemmconv
