// SPDX-License-Identifier: MIT
// Depthwise convolution with channels on the lanes: how the sums of a tile are finished, and any
// number of outputs of a row, whatever their windows. The tiles of windows that share pixels are in
// depthwise_channels_kernel.cc.
#pragma once

#include "depthwise_kernels.h"
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// What a clamp alone cannot finish goes through memory: rare after a depthwise convolution, and in
// registers it would double the code of every tile.
template <bool kAsks, int R, int P>
[[gnu::always_inline]] inline void finish_rows(Vec (&acc)[R][P], std::ptrdiff_t channel,
                                               const DepthwiseChannelsTile& t) {
  Output output = *t.output;
  output.c += channel;
  output.bias += channel;
  if (output.add != nullptr) output.add += channel;
  const Vec bias = load(output.bias);
  if (is_clamp(output.epilogue) && output.add == nullptr) {
    const Vec min = broadcast(output.epilogue.min);
    const Vec max = broadcast(output.epilogue.max);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      if (r > 0 && t.rows == 1) return;
      float* c = output.c + r * t.output_row_stride;
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) {
        if (kAsks) {
          __builtin_prefetch(c + p * output.row_stride + R * t.output_row_stride, 1, 2);
        }
        store(c + p * output.row_stride, clamp(acc[r][p] + bias, min, max));
      }
    }
    return;
  }
  alignas(64) float values[R][P * kLanes];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int p = 0; p < P; ++p) store(values[r] + p * kLanes, acc[r][p] + bias);
  }
  for (std::ptrdiff_t r = 0; r < t.rows; ++r) {
    finish_in_memory(values[r], P, kLanes, kLanes, output);
    output.c += t.output_row_stride;
    if (output.add != nullptr) output.add += t.output_row_stride;
  }
}

template <int R, int P>
[[gnu::always_inline]] inline void clear(Vec (&acc)[R][P]) {
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int p = 0; p < P; ++p) acc[r][p] = Vec{};
  }
}

// Calls `compute` for each vector of the channels.
template <typename Compute>
[[gnu::always_inline]] inline void for_vectors(const DepthwiseChannelsTile& t, Compute compute) {
  const std::ptrdiff_t last = t.channels - kLanes;
  std::ptrdiff_t next = t.second;
  for (std::ptrdiff_t channel = 0;; channel = next < last ? next : last, next += kLanes) {
    compute(channel);
    if (channel == last) return;
  }
}

// What the vectors of a tile have in common. Members of the tile itself would be read again after
// each store and kept load.
struct Walk {
  const float* x;
  const float* w;
  float* c;
  const float* bias;
  std::ptrdiff_t row_stride, column_stride, tap_stride, pixel_stride;
  std::ptrdiff_t rows, column_begin, column_end;
};

// As finish_rows, which copies the output for each vector.
template <int P, bool kClamps>
[[gnu::always_inline]] inline void finish_line(const Vec (&acc)[1][P], Vec bias, float* c,
                                               std::ptrdiff_t pixel_stride, Vec min, Vec max) {
  GEMMCONV_UNROLL
  for (int p = 0; p < P; ++p) {
    const Vec y = acc[0][p] + bias;
    store(c + p * pixel_stride, kClamps ? clamp(y, min, max) : y);
  }
}

template <int P>
[[gnu::noinline]] void finish_apart(Vec (&acc)[1][P], std::ptrdiff_t channel,
                                    const DepthwiseChannelsTile& t) {
  finish_rows<false>(acc, channel, t);
}

// Outputs side by side; each loads its own pixels, of those columns that lie inside the image.
template <int P, bool kInside>
[[gnu::always_inline]] inline void group(const DepthwiseChannelsTile& t) {
  const Output& out = *t.output;
  const std::ptrdiff_t row = t.row_begin > 0 ? t.row_begin : 0;
  const std::ptrdiff_t step = t.step * t.tap_column_stride;
  const std::ptrdiff_t pixel_stride = out.row_stride;
  const Walk walk{t.x + row * t.tap_row_stride,
                  t.w + row * t.kernel_w * t.tap_stride,
                  out.c,
                  out.bias,
                  t.tap_row_stride - t.kernel_w * t.tap_column_stride,
                  t.tap_column_stride,
                  t.tap_stride,
                  pixel_stride,
                  (t.row_end < t.kernel_h ? t.row_end : t.kernel_h) - row,
                  t.column_begin,
                  t.column_end};
  const bool is_simple = is_clamp(out.epilogue) && out.add == nullptr;
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  for_vectors(t, [&](std::ptrdiff_t channel) {
    Vec acc[1][P];
    clear(acc);
    const float* x = walk.x + channel;
    const float* w = walk.w + channel;
    for (std::ptrdiff_t i = walk.rows; i > 0; --i) {
      for (std::ptrdiff_t j = 0; j < t.kernel_w; ++j) {
        const Vec wv = load(w);
        const float* pixel = x;
        GEMMCONV_UNROLL
        for (int p = 0; p < P; ++p) {
          if (p > 0 && p % 3 == 0) {
            pixel += 3 * step;
            forget(pixel);
          }
          const std::ptrdiff_t column = j + p * t.step;
          if (!kInside && (column < walk.column_begin || column >= walk.column_end)) continue;
          acc[0][p] += load(pixel + p % 3 * step) * wv;
        }
        x += walk.column_stride;
        w += walk.tap_stride;
      }
      x += walk.row_stride;
    }
    if (is_simple) {
      finish_line<P, true>(acc, load(walk.bias + channel), walk.c + channel, pixel_stride, min,
                           max);
    } else {
      Vec sums[1][P];
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) sums[0][p] = acc[0][p];
      finish_apart(sums, channel, t);
    }
  });
}

// The next P, or the greatest power of two of them that there are; tells how many. Never one by
// one: multiply-adds would wait for each other (9×9 64@14 in nchw 0.059 → 0.094 ms).
template <int P>
[[gnu::always_inline]] inline int next_group(const DepthwiseChannelsTile& t,
                                             std::ptrdiff_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return next_group<P / 2>(t, pixels);
  }
  if (t.column_begin <= 0 && t.column_end >= (P - 1) * t.step + t.kernel_w) {
    group<P, true>(t);
  } else {
    group<P, false>(t);
  }
  return P;
}

// So many outputs of a row, of any width and step: nothing is known of which share a pixel. Tests
// of columns take as long as their multiply-adds, and most outputs need none (Zen 4 as AVX2, 4×4
// 64@56 0.268 → 0.141 ms).
[[gnu::noinline]] void any_run(const DepthwiseChannelsTile& tile, std::ptrdiff_t pixels) {
  constexpr int kGroup = GEMMCONV_REGISTERS >= 16 ? 8 : 4;
  DepthwiseChannelsTile t = tile;
  Output output = *tile.output;
  t.output = &output;
  while (pixels > 0) {
    const int count = next_group<kGroup>(t, pixels);
    pixels -= count;
    t.x += count * t.step * t.tap_column_stride;
    t.column_begin -= count * t.step;
    t.column_end -= count * t.step;
    output.c += count * output.row_stride;
    if (output.add != nullptr) output.add += count * output.row_stride;
  }
}

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
