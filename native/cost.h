// SPDX-License-Identifier: MIT
// The plan's cost model. The unit is half a cycle of one core: the time of one vector multiply-add,
// or of one vector load, on a core that starts two of each a cycle. Only ratios matter.
#pragma once

#include "conv2d.h"
#include "pack.h"

namespace gemmconv {

// What takes the same time on every ISA is counted in cycles. A multiply-add of 16 lanes takes a
// whole one where it is done in two halves (Zen 4, where all constants were found).
inline double units_a_cycle(std::ptrdiff_t lanes) { return lanes >= 16 ? 1.0 : 2.0; }

// Fewer independent sums than this leave the multiply-add units waiting: 4 cycles latency × 2
// units.
inline constexpr double kChainsInFlight = 8;

// One step of k over all tiles of rows × lanes outputs: what its multiply-adds cost, or its loads
// where these are more, or the latency where there are too few independent sums to cover it.
double step_cost(const Panels& rows, const Panels& lanes);

// Cycles to store one group's output: by whole vectors, or transposed.
double store_cycles(const Conv2dProblem& problem, Lanes lanes);

// Bytes of all images and their outputs.
double tensor_bytes(const Conv2dProblem& problem);

// Whether these are more than half of the last cache, and than L2: images then come from memory.
bool leaves_caches(const Conv2dProblem& problem);

// Taps of one channel that lie inside the image, of an average output; and rows of taps.
double inside_taps(const Conv2dProblem& problem);
double inside_rows(const Conv2dProblem& problem);

// A vector of channels of one output of a depthwise convolution with channels on the lanes, which
// takes so many cycles to finish, by kernels that share loads between outputs or by those that do
// not.
double depthwise_channels_cost(const Conv2dPlan& plan, bool shares_loads, double finish_cycles);

// What the cost of a depthwise algorithm is multiplied by when compared with that of one for any
// number of channels.
double depthwise_handicap(const Conv2dPlan& plan);

}  // namespace gemmconv
