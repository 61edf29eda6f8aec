// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace gemmconv::bench {

// FLOPs of `steps` rounds of multiply-add chains of this ISA, having done them.
using Chains = double (*)(int steps);

// Null for an ISA that this build does not have.
Chains chains_of(std::string_view isa);

// Best GFLOP/s of `chains` on so many threads together, over about `seconds`.
double measure_peak(Chains chains, double seconds, int threads = 1);

}  // namespace gemmconv::bench
