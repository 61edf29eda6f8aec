// SPDX-License-Identifier: MIT
// Runs of floats along a row of an image, and where their taps leave it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernel/quad.h"
#include "lines.h"

namespace gemmconv {

struct Range {
  std::ptrdiff_t begin, end;
  std::ptrdiff_t size() const { return end - begin; }
};

// Smallest i ≥ 0 with start + i·step ≥ bound, at most count. The division is for borders only.
inline std::ptrdiff_t steps_until(std::ptrdiff_t start, std::ptrdiff_t step, std::ptrdiff_t bound,
                                  std::ptrdiff_t count) {
  if (start >= bound) return 0;
  if (start + (count - 1) * step < bound) return count;
  return (bound - start + step - 1) / step;
}

// Those of `count` positions start, start + step, … that lie in [0, extent).
inline Range inside(std::ptrdiff_t start, std::ptrdiff_t step, std::ptrdiff_t extent,
                    std::ptrdiff_t count) {
  const std::ptrdiff_t end = steps_until(start, step, extent, count);
  return {std::min(steps_until(start, step, 0, count), end), end};
}

// A call to memset or memcpy costs more than these few vectors; the last may overlap its neighbour.
inline void zero_run(float* dst, std::ptrdiff_t count) {
  constexpr std::ptrdiff_t kStep = 4;
  if (count < kStep) {
    // Not a loop: compilers make that a call.
    if (count > 0) dst[0] = 0.0f;
    if (count > 1) dst[1] = 0.0f;
    if (count > 2) dst[2] = 0.0f;
    return;
  }
  for (std::ptrdiff_t i = 0; i + kStep <= count; i += kStep) {
    std::memset(dst + i, 0, kStep * sizeof(float));
  }
  std::memset(dst + count - kStep, 0, kStep * sizeof(float));
}

inline void copy_run(float* dst, const float* src, std::ptrdiff_t count) {
  constexpr std::ptrdiff_t kStep = 4;
  constexpr std::ptrdiff_t kWidest = 32;  // a whole lane panel of AVX-512: worth a loop of its own
  if (count == kWidest) {
    std::memcpy(dst, src, kWidest * sizeof(float));
    return;
  }
  if (count < kStep) {
    for (std::ptrdiff_t i = 0; i < count; ++i) dst[i] = src[i];
    return;
  }
  for (std::ptrdiff_t i = 0; i + kStep <= count; i += kStep) {
    std::memcpy(dst + i, src + i, kStep * sizeof(float));
  }
  std::memcpy(dst + count - kStep, src + count - kStep, kStep * sizeof(float));
}

// dst[i] = src[i · step]
inline void gather_run(float* dst, const float* src, std::ptrdiff_t step, std::ptrdiff_t count) {
  if (step == 1) {
    copy_run(dst, src, count);
    return;
  }
  std::ptrdiff_t i = 0;
  for (; i + 4 <= count; i += 4) gather_quad(dst + i, src + i * step, step);
  for (; i < count; ++i) dst[i] = src[i * step];
}

// From so many neighbours on, which are cache lines of their own, asking for them ahead is repaid
// where they come from memory (Zen 4, nhwc by direct-pixels: 1×1 64->2@256 0.95 -> 0.85 ms, 8
// images 64->8@112 3.96 -> 2.83; in groups of 8 channels it cost 17 %, and packing 2 %).
inline constexpr std::ptrdiff_t kAskedRows = 32, kRunsAhead = 16;

inline void ask_for_runs(const float* src, std::ptrdiff_t src_stride, std::ptrdiff_t rows) {
  for (std::ptrdiff_t i = 0; i < 4; ++i) {
    for (std::ptrdiff_t c = 0; c < rows; c += kLineFloats) {
      __builtin_prefetch(src + i * src_stride + c);
    }
  }
}

// dst[c · dst_stride + i] = src[i · src_stride + c], c < rows and i < count: four by four, what is
// left over one by one. kAsks: where src may come from memory.
template <bool kAsks = false>
inline void transpose_runs(float* dst, std::ptrdiff_t dst_stride, const float* src,
                           std::ptrdiff_t src_stride, std::ptrdiff_t count, std::ptrdiff_t rows) {
  std::ptrdiff_t i = 0;
  for (; i + 4 <= count; i += 4) {
    if (kAsks && rows >= kAskedRows)
      ask_for_runs(src + (i + kRunsAhead) * src_stride, src_stride, rows);
    std::ptrdiff_t c = 0;
    for (; c + 4 <= rows; c += 4) {
      transpose_quads(src + i * src_stride + c, src_stride, dst + c * dst_stride + i, dst_stride);
    }
    for (; c < rows; ++c) {
      gather_run(dst + c * dst_stride + i, src + i * src_stride + c, src_stride, 4);
    }
  }
  for (; i < count; ++i) {
    for (std::ptrdiff_t c = 0; c < rows; ++c) dst[c * dst_stride + i] = src[i * src_stride + c];
  }
}

}  // namespace gemmconv
