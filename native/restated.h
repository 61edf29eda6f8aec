// SPDX-License-Identifier: MIT
// The same problem in other words: the same floats of input, filter and output, at the same places,
// and the same sums in the same order, in a form that the algorithms compute faster.
#pragma once

#include "conv2d.h"

namespace gemmconv {

Conv2dProblem restated(const Conv2dProblem& problem);

}  // namespace gemmconv
