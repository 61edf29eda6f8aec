// SPDX-License-Identifier: MIT
// The plan's cost model. The unit is half a cycle of one core: the time of one vector multiply-add,
// or of one vector load, on a core that starts two of each a cycle. Only ratios matter.
#pragma once

#include "conv2d.h"
#include "pack.h"
#include "system/cpu.h"

namespace gemmconv {

// What takes the same time on every ISA is counted in cycles. A multiply-add of 16 lanes takes a
// whole one where it is done in two halves (Zen 4, where most constants were found).
inline double units_a_cycle(std::ptrdiff_t lanes) {
  return lanes >= 16 && core_traits().halves_avx512 ? 1.0 : 2.0;
}

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

// Share of these that an L3 that is far costs more than one that is near: none where L2 holds them,
// all from four times that on. What that costs was found on Sapphire Rapids, with 2 MB of L2, by
// AVX-512: some 260 layers of 1×1, 3×3, 5×5 and 7×7, 3 to 2048 channels on 5² to 224², of which the
// plan's choices are 2 % behind the best of all variants, 8 % without.
double far_share(const Conv2dProblem& problem);
// Cycles for weights, so many floats, of which each line that comes from far takes so many.
double far_weights(std::ptrdiff_t floats, double line_cycles);

// Whether these are more than half of the last cache, and than L2: images then come from memory;
// or, where L3 is as far, than twice L2 (Sapphire Rapids, depthwise 3×3 nhwc, read as from memory:
// eight of 144@56 4.9 -> 3.0 ms, two 0.64 -> 0.55, 64@112 0.48 -> 0.41; one of 144@56, less, the
// same).
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
