// SPDX-License-Identifier: MIT
// Four floats, on every ISA; and the 4×4 transposition, from which larger ones are made.
#pragma once

#include <cstddef>

namespace gemmconv {
namespace {

typedef float Quad
    __attribute__((vector_size(4 * sizeof(float)), aligned(alignof(float)), may_alias));

// dst[l · dst_stride + r] = src[r · src_stride + l], r and l in [0, 4).
[[gnu::always_inline]] inline void transpose_quads(const float* src, std::ptrdiff_t src_stride,
                                                   float* dst, std::ptrdiff_t dst_stride) {
  const auto row = [&](std::ptrdiff_t r) {
    return *reinterpret_cast<const Quad*>(src + r * src_stride);
  };
  const auto column = [&](std::ptrdiff_t l) -> Quad& {
    return *reinterpret_cast<Quad*>(dst + l * dst_stride);
  };
  const Quad low01 = __builtin_shufflevector(row(0), row(1), 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(row(0), row(1), 2, 6, 3, 7);
  const Quad low23 = __builtin_shufflevector(row(2), row(3), 0, 4, 1, 5);
  const Quad high23 = __builtin_shufflevector(row(2), row(3), 2, 6, 3, 7);
  column(0) = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  column(1) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  column(2) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  column(3) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

}  // namespace
}  // namespace gemmconv
