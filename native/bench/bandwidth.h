// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

namespace gemmconv::bench {

// a = b + factor * c on whole vectors of an ISA; the floats done.
using Triad = std::ptrdiff_t (*)(float* a, const float* b, const float* c, float factor,
                                 std::ptrdiff_t count);

// Null for an ISA that this build does not have.
Triad triad_of(std::string_view isa);

// Best GB/s of all `threads` together over three arrays of `bytes` in all a thread, each its own;
// 12 bytes a step, as STREAM counts: a line that is fetched only to be overwritten does not count.
double measure_bandwidth(Triad triad, std::size_t bytes, int threads, double seconds);

}  // namespace gemmconv::bench
