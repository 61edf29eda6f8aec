// SPDX-License-Identifier: MIT
// Depthwise convolution with channels on the lanes: how the sums of a tile are finished, and any
// number of outputs of a row, whatever their windows. The tiles of windows that share pixels are in
// depthwise_channels_kernel.cc.
#pragma once

#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Makes the compiler forget how a pointer came about. Left alone, GCC precomputes the offset of
// each column and keeps most of them on the stack.
[[gnu::always_inline]] inline void forget(const float*& p) { asm("" : "+r"(p)); }

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

// Outputs side by side whose windows have columns [begin, end) inside the image; each loads its own
// pixels.
template <int P>
[[gnu::always_inline]] inline void group(const DepthwiseChannelsTile& t, std::ptrdiff_t begin,
                                         std::ptrdiff_t end) {
  const Output& out = *t.output;
  const std::ptrdiff_t row = t.row_begin > 0 ? t.row_begin : 0;
  const std::ptrdiff_t columns = end - begin;
  const std::ptrdiff_t step = t.step * t.tap_column_stride;
  const std::ptrdiff_t pixel_stride = out.row_stride;
  const Walk walk{t.x + row * t.tap_row_stride + begin * t.tap_column_stride,
                  t.w + (row * t.kernel_w + begin) * t.tap_stride,
                  out.c,
                  out.bias,
                  t.tap_row_stride - columns * t.tap_column_stride,
                  t.tap_column_stride,
                  t.tap_stride,
                  pixel_stride,
                  (t.row_end < t.kernel_h ? t.row_end : t.kernel_h) - row,
                  begin,
                  end};
  const bool is_simple = is_clamp(out.epilogue) && out.add == nullptr;
  const std::ptrdiff_t skipped = (t.kernel_w - columns) * t.tap_stride;
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  for_vectors(t, [&](std::ptrdiff_t channel) {
    Vec acc[1][P];
    clear(acc);
    const float* x = walk.x + channel;
    const float* w = walk.w + channel;
    for (std::ptrdiff_t i = walk.rows; i > 0; --i) {
      for (std::ptrdiff_t j = columns; j > 0; --j) {
        const Vec wv = load(w);
        const float* pixel = x;
        GEMMCONV_UNROLL
        for (int p = 0; p < P; ++p) {
          if (p > 0 && p % 3 == 0) {
            pixel += 3 * step;
            forget(pixel);
          }
          acc[0][p] += load(pixel + p % 3 * step) * wv;
        }
        x += walk.column_stride;
        w += walk.tap_stride;
      }
      x += walk.row_stride;
      w += skipped;
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

// As many as there are of P at once, if they lie inside the image.
template <int P>
[[gnu::always_inline]] inline bool are_grouped(const DepthwiseChannelsTile& t,
                                               std::ptrdiff_t pixels) {
  if (pixels < P || t.column_begin > 0 || t.column_end < (P - 1) * t.step + t.kernel_w) {
    return false;
  }
  group<P>(t, 0, t.kernel_w);
  return true;
}

// So many outputs of a row, of any width and step: nothing is known of which share a pixel. A test
// for each output and column took as long as its multiply-add (Zen 4 as AVX2, 4×4 64@56 0.268 →
// 0.141 ms).
[[gnu::noinline]] void any_run(const DepthwiseChannelsTile& tile, std::ptrdiff_t pixels) {
  constexpr int kGroup = GEMMCONV_REGISTERS >= 16 ? 8 : 4;
  DepthwiseChannelsTile t = tile;
  Output output = *tile.output;
  t.output = &output;
  while (pixels > 0) {
    int count = 1;
    if (are_grouped<kGroup>(t, pixels)) {
      count = kGroup;
    } else if (are_grouped<kGroup / 2>(t, pixels)) {
      count = kGroup / 2;
    } else if (kGroup > 4 && are_grouped<2>(t, pixels)) {
      count = 2;
    } else {
      group<1>(t, t.column_begin > 0 ? t.column_begin : 0,
               t.column_end < t.kernel_w ? t.column_end : t.kernel_w);
    }
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
