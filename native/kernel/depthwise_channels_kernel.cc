// SPDX-License-Identifier: MIT
// The depthwise microkernel with channels on the lanes, one source, compiled once per ISA: one
// vector of channels of up to kRows × kPixels outputs. It walks the pixels of the image under the
// tile, row by row: each is loaded once and goes to all outputs whose window holds it, because a
// depthwise convolution that loads both operands of every multiply-add waits for loads. Each output
// still meets its taps in order. Rows outside the image are not entered and columns are passed
// over.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// The sums, a filter row for each row of them, and a pixel. Two rows of eight outputs load 0.3
// pixels a multiply-add at 3×3, one row 0.42.
constexpr int kRows = GEMMCONV_REGISTERS >= 32 ? 2 : 1;
constexpr int kPixels = GEMMCONV_REGISTERS >= 32 ? 8 : GEMMCONV_REGISTERS >= 16 ? 7 : 6;
// SSE2 has no registers for the weights of a wider row.
constexpr int kWidest = GEMMCONV_REGISTERS >= 16 ? 7 : 5;
constexpr int kLeastPixels = (kPixels + 1) / 2;  // even parts of more than kPixels are not smaller

// The taps of one image row for output rows [kBegin, kEnd) of the tile. Outputs p with
// 0 ≤ j - p·Step < KW have column j in their window.
template <int KW, int Step, bool kInside, int kBegin, int kEnd, int R, int P>
[[gnu::always_inline]] inline void taps_of_row(Vec (&acc)[R][P], std::ptrdiff_t i,
                                               const DepthwiseChannelsTile& t) {
  Vec w[R][KW];
  GEMMCONV_UNROLL
  for (int r = kBegin; r < kEnd; ++r) {
    GEMMCONV_UNROLL
    for (int kw = 0; kw < KW; ++kw) {
      w[r][kw] = load(t.w + ((i - r * Step) * KW + kw) * kLanes);
    }
  }
  const float* x = t.x + i * t.tap_row_stride;
  constexpr int kColumns = (P - 1) * Step + KW;
#pragma GCC unroll 32
  for (int j = 0; j < kColumns; ++j) {
    if (!kInside && __builtin_expect(j < t.column_begin || j >= t.column_end, 0)) continue;
    const Vec xv = load(x + j * t.tap_column_stride);
    GEMMCONV_UNROLL
    for (int r = kBegin; r < kEnd; ++r) {
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) {
        const int kw = j - p * Step;
        if (kw >= 0 && kw < KW) acc[r][p] += xv * w[r][kw];
      }
    }
  }
}

template <int KW, int Step, bool kInside, int kBegin, int kEnd, int R, int P>
[[gnu::always_inline]] inline void taps(Vec (&acc)[R][P], std::ptrdiff_t first, std::ptrdiff_t last,
                                        const DepthwiseChannelsTile& t) {
  const std::ptrdiff_t end = last < t.row_end ? last : t.row_end;
  for (std::ptrdiff_t i = first > t.row_begin ? first : t.row_begin; i < end; ++i) {
    taps_of_row<KW, Step, kInside, kBegin, kEnd>(acc, i, t);
  }
}

// A second row of outputs has its window Step image rows further down.
template <int KW, int Step, bool kInside, int R, int P>
[[gnu::always_inline]] inline void all_taps(Vec (&acc)[R][P], const DepthwiseChannelsTile& t) {
  const std::ptrdiff_t second = t.rows == 1 || t.kernel_h < Step ? t.kernel_h : Step;
  taps<KW, Step, kInside, 0, 1>(acc, 0, second, t);
  if constexpr (R > 1) {
    if (t.rows == 1) return;
    taps<KW, Step, kInside, 0, 2>(acc, Step, t.kernel_h, t);
    taps<KW, Step, kInside, 1, 2>(acc, t.kernel_h > Step ? t.kernel_h : Step, t.kernel_h + Step, t);
  }
}

// What a clamp alone cannot finish goes through memory: rare after a depthwise convolution, and in
// registers it would double the code of every tile.
template <int R, int P>
[[gnu::always_inline]] inline void finish_rows(Vec (&acc)[R][P], const DepthwiseChannelsTile& t) {
  Output output = *t.output;
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

template <int R, int P, int KW, int Step>
void tile(const DepthwiseChannelsTile& t) {
  Vec acc[R][P];
  clear(acc);
  if (t.column_begin <= 0 && t.column_end >= (P - 1) * Step + KW) {
    all_taps<KW, Step, true>(acc, t);
  } else {
    all_taps<KW, Step, false>(acc, t);
  }
  finish_rows(acc, t);
}

// Any width and step: nothing is known of which outputs share a pixel.
template <int P>
void any_tile(const DepthwiseChannelsTile& t) {
  Vec acc[1][P];
  clear(acc);
  for (std::ptrdiff_t i = t.row_begin > 0 ? t.row_begin : 0; i < t.kernel_h && i < t.row_end; ++i) {
    for (std::ptrdiff_t kw = 0; kw < t.kernel_w; ++kw) {
      const Vec w = load(t.w + (i * t.kernel_w + kw) * kLanes);
      const float* x = t.x + i * t.tap_row_stride + kw * t.tap_column_stride;
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) {
        const std::ptrdiff_t column = kw + p * t.step;
        if (column < t.column_begin || column >= t.column_end) continue;
        acc[0][p] += load(x + p * t.step * t.tap_column_stride) * w;
      }
    }
  }
  finish_rows(acc, t);
}

// The weights of one vector of channels, from taps `stride` apart. Vector by vector: a load of what
// was stored in pieces would wait until they have left the store queue.
void copy_weights(const float* from, std::ptrdiff_t stride, std::ptrdiff_t taps, float* to) {
  for (std::ptrdiff_t tap = 0; tap < taps; ++tap)
    store(to + tap * kLanes, load(from + tap * stride));
}

// A window of 7 with steps of 2 is too rare for kernels of its own.
template <int P, int KW, int Step>
constexpr void fill(DepthwiseChannelsKernel& kernel) {
  kernel.tile[KW / 2][Step - 1][P - 1] = tile<kRows, P, KW, Step>;
  if constexpr (P > kLeastPixels) {
    fill<P - 1, KW, Step>(kernel);
  } else if constexpr (Step > 1) {
    fill<kPixels, KW, Step - 1>(kernel);
  } else if constexpr (KW > 3) {
    fill<kPixels, KW - 2, 2>(kernel);
  }
}

template <int P>
constexpr void fill_any(DepthwiseChannelsKernel& kernel) {
  kernel.any_tile[P - 1] = any_tile<P>;
  if constexpr (P > 1) fill_any<P - 1>(kernel);
}

constexpr DepthwiseChannelsKernel make() {
  DepthwiseChannelsKernel kernel{kLanes, kRows, kPixels, kLeastPixels, copy_weights, {}, {}};
  fill<kPixels, kWidest, 1>(kernel);
  fill_any<kPixels>(kernel);
  return kernel;
}

}  // namespace

extern const DepthwiseChannelsKernel depthwise_channels_kernel;
constinit const DepthwiseChannelsKernel depthwise_channels_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
