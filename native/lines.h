// SPDX-License-Identifier: MIT
// Cache lines, which every CPU here has of 64 bytes or takes two of, counted in floats.
#pragma once

#include <cstddef>

namespace gemmconv {

inline constexpr std::ptrdiff_t kLineFloats = 16;

inline std::ptrdiff_t lines_of(std::ptrdiff_t floats) {
  return (floats + kLineFloats - 1) / kLineFloats;
}

inline std::ptrdiff_t whole_lines(std::ptrdiff_t floats) { return lines_of(floats) * kLineFloats; }

// An odd number of lines: what is so far apart falls into different sets of a cache.
inline std::ptrdiff_t odd_lines(std::ptrdiff_t floats) {
  return (lines_of(floats) | 1) * kLineFloats;
}

}  // namespace gemmconv
