// SPDX-License-Identifier: MIT
// The depthwise microkernel with channels on the lanes, one source, compiled once per ISA: up to
// kRows × kPixels outputs, one vector of channels after the other. It walks the pixels of the image
// under the tile, row by row: each is loaded once and goes to all outputs whose window holds it,
// because a depthwise convolution that loads both operands of every multiply-add waits for loads.
// Each output still meets its taps in order. Rows outside the image are not entered and columns are
// passed over.
#include "depthwise_run.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// The sums, a filter row for each row of them, and a pixel. Two rows of eight outputs load 0.3
// pixels a multiply-add at 3×3, one row 0.42.
constexpr int kRows = GEMMCONV_REGISTERS >= 32 ? 2 : 1;
constexpr int kPixels = GEMMCONV_REGISTERS >= 32 ? 8 : GEMMCONV_REGISTERS >= 16 ? 10 : 6;
// Whether a tile is one row, and what it does with a row of the image is a loop's body: with 16
// registers the addresses and tests of unrolled rows are as much work as their taps (Zen 4 as AVX2,
// 3×3 960@7: 0.0195 → 0.0120 ms, with a third of the code).
constexpr bool kLoops = GEMMCONV_REGISTERS < 32;
// SSE2 has no registers for the weights of a wider row.
constexpr int kWidest = GEMMCONV_REGISTERS >= 16 ? 7 : 5;
// A row of so many taps as 7×7 has is enough work for its loads, and for one function.
constexpr int rows_of(int width) { return width < 7 ? kRows : 1; }
// The pixels under more outputs two apart do not fit into L1 where there are many channels, and
// each row is fetched anew (Zen 4 as AVX2, 3×3 128@56 0.066 → 0.057 ms).
constexpr int pixels_of(int width, int step) {
  return step == 2 && width == 3 && kLoops && kPixels > 7 ? 7 : kPixels;
}
// Even parts of more than so many are not smaller than half of that; but rows of four are common.
constexpr int least_of(int pixels) { return pixels < 8 ? (pixels + 1) / 2 : 4; }

// The taps of one row of the image for those output rows whose window holds it. Outputs p with
// 0 ≤ j - p·Step < KW have column j in their window. The last rows ask for those of the next tile
// below.
template <int KW, int Step, bool kInside, bool kAsks, int I, int R, int P>
[[gnu::always_inline]] inline void taps_of_row(Vec (&acc)[R][P], const float* x, const float* w,
                                               const DepthwiseChannelsTile& t) {
  constexpr auto sees = [](int r) { return I >= r * Step && I < r * Step + KW; };
  const std::ptrdiff_t stride = t.tap_column_stride;
  Vec wv[R][KW];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    if (!sees(r)) continue;
    GEMMCONV_UNROLL
    for (int kw = 0; kw < KW; ++kw) {
      wv[r][kw] = load(w + ((I - r * Step) * KW + kw) * t.tap_stride);
    }
  }
  constexpr int kColumns = (P - 1) * Step + KW;
#pragma GCC unroll 32
  for (int j = 0; j < kColumns; ++j) {
    // Columns in threes: the addresses [x], [x + s] and [x + 2s] cost nothing.
    if (j > 0 && j % 3 == 0) {
      x += 3 * stride;
      forget(x);
    }
    if (!kInside && __builtin_expect(j < t.column_begin || j >= t.column_end, 0)) continue;
    const Vec xv = load(x + j % 3 * stride);
    if (kAsks && I >= KW - Step && j < P * Step) {
      __builtin_prefetch(x + j % 3 * stride + R * Step * t.tap_row_stride, 0, 2);
    }
    keep_load();
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      if (!sees(r)) continue;
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) {
        const int kw = j - p * Step;
        if (kw >= 0 && kw < KW) acc[r][p] += xv * wv[r][kw];
      }
    }
  }
}

// Rows from I on, one after the other without a loop: the compiler then knows where weights are,
// and 3×3 is a tenth faster.
template <int KW, int Step, bool kInside, bool kAsks, int I, int R, int P>
[[gnu::always_inline]] inline void taps(Vec (&acc)[R][P], const float* x, const float* w,
                                        const DepthwiseChannelsTile& t) {
  if constexpr (I < (R - 1) * Step + KW) {
    if (I >= t.row_begin && I < t.row_end) {
      taps_of_row<KW, Step, kInside, kAsks, I>(acc, x, w, t);
    }
    taps<KW, Step, kInside, kAsks, I + 1>(acc, x + t.tap_row_stride, w, t);
  }
}

template <int R, int P, int KW, int Step, bool kInside, bool kAsks>
[[gnu::always_inline]] inline void vectors(const DepthwiseChannelsTile& t) {
  for_vectors(t, [&](std::ptrdiff_t channel) {
    Vec acc[R][P];
    clear(acc);
    taps<KW, Step, kInside, kAsks, 0>(acc, t.x + channel, t.w + channel, t);
    finish_rows<kAsks>(acc, channel, t);
  });
}

// As taps_of_row, of one row of outputs of which all have a column inside the image.
template <int KW, int Step, int P>
[[gnu::always_inline]] inline void taps_of_line(Vec (&acc)[1][P], const float* x, const float* w,
                                                const Walk& walk) {
  Vec wv[KW];
  GEMMCONV_UNROLL
  for (int kw = 0; kw < KW; ++kw) wv[kw] = load(w + kw * walk.tap_stride);
  constexpr int kColumns = (P - 1) * Step + KW;
#pragma GCC unroll 32
  for (int j = 0; j < kColumns; ++j) {
    if (j > 0 && j % 3 == 0) {
      x += 3 * walk.column_stride;
      forget(x);
    }
    if (j < KW - 1 && __builtin_expect(j < walk.column_begin, 0)) continue;
    if (j > kColumns - KW && __builtin_expect(j >= walk.column_end, 0)) continue;
    const Vec xv = load(x + j % 3 * walk.column_stride);
    keep_load();
    GEMMCONV_UNROLL
    for (int p = 0; p < P; ++p) {
      const int kw = j - p * Step;
      if (kw >= 0 && kw < KW) acc[0][p] += xv * wv[kw];
    }
  }
}

// What is the same for all vectors, which the compiler is not to know: it would make a loop of its
// own of each case.
[[gnu::always_inline, maybe_unused]] inline bool asked_again(bool condition) {
  asm("" : "+r"(condition));
  return condition;
}

// For the next kCount lines.
template <int kCount>
[[gnu::always_inline]] inline void ask(const float* x) {
  GEMMCONV_UNROLL
  for (int i = 0; i < kCount; ++i) __builtin_prefetch(x + i * kLineFloats, 0, 2);
}

template <int P>
[[gnu::noinline]] void any_tile(const DepthwiseChannelsTile& t);

// Each vector asks for a few lines of what the next tile below reads anew and, if told so, writes
// (Zen 4 as AVX2, 3×3: 144@56 0.160 → 0.145 ms; n8, outputs too, 5.0 → 1.43, and 1.57 with a line
// of each pixel as its channels come up instead).
template <int P, int KW, int Step>
void row_tile(const DepthwiseChannelsTile& t) {
  constexpr int kColumns = (P - 1) * Step + KW;
  constexpr int kLinesAsked = (P * Step * kLanes + kLineFloats - 1) / kLineFloats;
  constexpr int kLinesStored = (P * kLanes + kLineFloats - 1) / kLineFloats;
  if (t.column_begin >= KW || t.column_end <= kColumns - KW) {
    any_tile<P>(t);
    return;
  }
  const Output& out = *t.output;
  const std::ptrdiff_t row = t.row_begin > 0 ? t.row_begin : 0;
  // Not a function's result: GCC would read it from memory (384@14 0.0220 → 0.0249 ms).
  Walk walk{t.x + row * t.tap_row_stride,
            t.w + row * KW * t.tap_stride,
            out.c,
            out.bias,
            t.tap_row_stride,
            t.tap_column_stride,
            t.tap_stride,
            out.row_stride,
            (t.row_end < t.kernel_h ? t.row_end : t.kernel_h) - row,
            t.column_begin,
            t.column_end};
  const bool is_simple = is_clamp(out.epilogue) && out.add == nullptr;
  const bool clamps = !is_unbounded(out.epilogue);
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  // Steps of two ask for two lines a vector of outputs: in vain if L2 holds them (576@14 0.0139 →
  // 0.0125 ms).
  const bool asks = walk.column_stride == t.channels && (Step == 1 || t.is_far);
  const bool asks_to_store = t.asks_below && asks && walk.pixel_stride == t.channels;
  const float* image_below = t.x + t.kernel_h * walk.row_stride + (KW - Step) * walk.column_stride;
  const float* output_below = out.c + t.output_row_stride;
  const std::ptrdiff_t last = t.channels - kLanes;
  std::ptrdiff_t left = t.alike;
  std::ptrdiff_t channel = 0;
  std::ptrdiff_t next = t.second;
  // Not for_vectors: GCC would make the first one's code apart.
  for (;;) {
    Vec acc[1][P];
    clear(acc);
    const float* x = walk.x + channel;
    const float* w = walk.w + channel;
    for (std::ptrdiff_t i = walk.rows; i > 0; --i) {
      taps_of_line<KW, Step>(acc, x, w, walk);
      x += walk.row_stride;
      w += KW * walk.tap_stride;
    }
    if (asked_again(asks)) {
      GEMMCONV_UNROLL
      for (int r = 0; r < Step; ++r) ask<kLinesAsked>(image_below + r * walk.row_stride);
      image_below += kLinesAsked * kLineFloats;
    }
    if (asked_again(asks_to_store)) {
      GEMMCONV_UNROLL
      for (int i = 0; i < kLinesStored; ++i)
        __builtin_prefetch(output_below + i * kLineFloats, 1, 2);
      output_below += kLinesStored * kLineFloats;
    }
    const Vec bias = load(walk.bias + channel);
    float* c = walk.c + channel;
    if (asked_again(!is_simple)) {
      Vec sums[1][P];
      GEMMCONV_UNROLL
      for (int p = 0; p < P; ++p) sums[0][p] = acc[0][p];
      finish_apart(sums, channel, t);
    } else if (asked_again(clamps)) {
      finish_line<P, true>(acc, bias, c, walk.pixel_stride, min, max);
    } else {
      finish_line<P, false>(acc, bias, c, walk.pixel_stride, min, max);
    }
    if (channel != last) {
      channel = next < last ? next : last;
      next += kLanes;
      continue;
    }
    if (--left == 0) return;
    walk.x += t.image_below;
    walk.c += t.output_row_stride;
    image_below = walk.x + t.kernel_h * walk.row_stride + (KW - Step) * walk.column_stride;
    output_below = walk.c + t.output_row_stride;
    channel = 0;
    next = t.second;
  }
}

// Tests for columns hide behind the multiply-adds of windows wider than three, and so much work
// leaves the hardware time to read ahead; of narrower ones most tiles lie inside, and where these
// ask, those at a border do only in the commonest case: their code would be as long again.
template <int R, int P, int KW, int Step>
void tile(const DepthwiseChannelsTile& t) {
  constexpr bool kNarrow = KW == 3;
  constexpr bool kBorderAsks = kNarrow && Step == 1 && GEMMCONV_REGISTERS >= 32;
  const bool is_inside = t.column_begin <= 0 && t.column_end >= (P - 1) * Step + KW;
  if (kNarrow && is_inside && t.asks_below) {
    vectors<R, P, KW, Step, kNarrow, kNarrow>(t);
  } else if (kNarrow && is_inside) {
    vectors<R, P, KW, Step, kNarrow, false>(t);
  } else if (kBorderAsks && t.asks_below) {
    vectors<R, P, KW, Step, false, kBorderAsks>(t);
  } else {
    vectors<R, P, KW, Step, false, false>(t);
  }
}

// The same, so many as a tile has.
template <int P>
void any_tile(const DepthwiseChannelsTile& t) {
  if constexpr (kLoops) {
    any_run(t, P);
    return;
  }
  for_vectors(t, [&](std::ptrdiff_t channel) {
    Vec acc[1][P];
    clear(acc);
    for (std::ptrdiff_t i = t.row_begin > 0 ? t.row_begin : 0; i < t.kernel_h && i < t.row_end;
         ++i) {
      for (std::ptrdiff_t kw = 0; kw < t.kernel_w; ++kw) {
        const Vec w = load(t.w + channel + (i * t.kernel_w + kw) * t.tap_stride);
        const float* x = t.x + channel + i * t.tap_row_stride + kw * t.tap_column_stride;
        GEMMCONV_UNROLL
        for (int p = 0; p < P; ++p) {
          const std::ptrdiff_t column = kw + p * t.step;
          if (column < t.column_begin || column >= t.column_end) continue;
          acc[0][p] += load(x + p * t.step * t.tap_column_stride) * w;
        }
      }
    }
    finish_rows<false>(acc, channel, t);
  });
}

// A window of 7 with steps of 2 is too rare for kernels of its own.
template <int P, int KW, int Step>
constexpr void fill(DepthwiseChannelsKernel& kernel) {
  if constexpr (kLoops) {
    kernel.tile[KW / 2][Step - 1][P - 1] = row_tile<P, KW, Step>;
  } else {
    kernel.tile[KW / 2][Step - 1][P - 1] = tile<rows_of(KW), P, KW, Step>;
  }
  constexpr int kMost = pixels_of(KW, Step);
  if constexpr (P > least_of(kMost)) {
    fill<P - 1, KW, Step>(kernel);
    return;
  }
  kernel.most_pixels[KW / 2][Step - 1] = kMost;
  kernel.least_pixels[KW / 2][Step - 1] = least_of(kMost);
  if constexpr (Step > 1) {
    fill<pixels_of(KW, 1), KW, 1>(kernel);
  } else if constexpr (KW > 3) {
    fill<pixels_of(KW - 2, 2), KW - 2, 2>(kernel);
  }
}

template <int P>
constexpr void fill_any(DepthwiseChannelsKernel& kernel) {
  kernel.any_tile[P - 1] = any_tile<P>;
  if constexpr (P > 1) fill_any<P - 1>(kernel);
}

constexpr DepthwiseChannelsKernel make() {
  DepthwiseChannelsKernel kernel{kLanes, {}, kPixels, kLoops, {}, {}, {}, any_run, {}};
  for (int i = 0; i < kDepthwiseWidths; ++i) kernel.rows[i] = rows_of(2 * i + 1);
  fill<kPixels, kWidest, 1>(kernel);
  fill_any<kPixels>(kernel);
  return kernel;
}

}  // namespace

extern const DepthwiseChannelsKernel depthwise_channels_kernel;
constinit const DepthwiseChannelsKernel depthwise_channels_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
