// SPDX-License-Identifier: MIT
// Four floats, on every ISA, and eight; and the transpositions 4×4 and 8×8, from which larger ones
// are made.
#pragma once

#include <cstddef>

namespace gemmconv {
namespace {

typedef float Quad
    __attribute__((vector_size(4 * sizeof(float)), aligned(alignof(float)), may_alias));

// dst[i] = src[i · step], i in [0, 4).
[[gnu::always_inline]] inline void gather_quad(float* dst, const float* src, std::ptrdiff_t step) {
  *reinterpret_cast<Quad*>(dst) = Quad{src[0], src[step], src[2 * step], src[3 * step]};
}

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

// Eight floats: one AVX register, two elsewhere.
typedef float Octet
    __attribute__((vector_size(8 * sizeof(float)), aligned(alignof(float)), may_alias));

// As transpose_quads, r and l in [0, 8): pairs, then quads are interleaved, then halves exchanged.
[[gnu::always_inline]] inline void transpose_octets(const float* src, std::ptrdiff_t src_stride,
                                                    float* dst, std::ptrdiff_t dst_stride) {
  // q[h][l]: rows 4h to 4h + 3 of columns l (low half) and l + 4 (high half).
  Octet q[2][4];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    // No lambda here: returning an Octet without AVX draws a warning about the ABI.
    const float* first = src + 4 * h * src_stride;
    const Octet a = *reinterpret_cast<const Octet*>(first);
    const Octet b = *reinterpret_cast<const Octet*>(first + src_stride);
    const Octet c = *reinterpret_cast<const Octet*>(first + 2 * src_stride);
    const Octet d = *reinterpret_cast<const Octet*>(first + 3 * src_stride);
    const Octet low_ab = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    const Octet high_ab = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    const Octet low_cd = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13);
    const Octet high_cd = __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    q[h][0] = __builtin_shufflevector(low_ab, low_cd, 0, 1, 8, 9, 4, 5, 12, 13);
    q[h][1] = __builtin_shufflevector(low_ab, low_cd, 2, 3, 10, 11, 6, 7, 14, 15);
    q[h][2] = __builtin_shufflevector(high_ab, high_cd, 0, 1, 8, 9, 4, 5, 12, 13);
    q[h][3] = __builtin_shufflevector(high_ab, high_cd, 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int l = 0; l < 4; ++l) {
    *reinterpret_cast<Octet*>(dst + l * dst_stride) =
        __builtin_shufflevector(q[0][l], q[1][l], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Octet*>(dst + (l + 4) * dst_stride) =
        __builtin_shufflevector(q[0][l], q[1][l], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace
}  // namespace gemmconv
