// SPDX-License-Identifier: MIT
// The depthwise microkernels with pixels on the lanes, one source, compiled once per ISA: a run of
// vectors along some rows of outputs. They walk the rows of the image under them: a vector of a row
// is loaded once for all output rows whose window holds it, because a load across cache lines, as
// most of these are, takes as long as two multiply-adds. Each output still meets its taps in order.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Rows of outputs of a 3×3 or 5×5 window, a vector wide: eight share 80 % of their loads, and fit
// with nine weights where there are 32 registers.
constexpr int kSquareRows = GEMMCONV_REGISTERS >= 32 ? 8 : 4;
// Rows and vectors of outputs of any other window.
constexpr int kRows = 4;
constexpr int kVectors = GEMMCONV_REGISTERS >= 32 ? 4 : 2;

// Lanes whose tap lies outside the image read zero, whatever lies there in memory.
template <bool kMasked>
[[gnu::always_inline]] inline Vec masked(Vec x, IntVec mask) {
  return kMasked ? reinterpret_cast<Vec>(reinterpret_cast<IntVec>(x) & mask) : x;
}

[[gnu::always_inline]] inline IntVec load_mask(const int* mask) {
  return reinterpret_cast<IntVec>(load(reinterpret_cast<const float*>(mask)));
}

// Lanes 0, 2, 4, … of two neighbouring vectors; from lane 1 on: 1, 3, 5, …
template <int kFirst, typename V>
[[gnu::always_inline]] inline V every_other(V a, V b) {
  constexpr int f = kFirst;
  if constexpr (kLanes == 16) {
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6, f + 8, f + 10, f + 12, f + 14,
                                   f + 16, f + 18, f + 20, f + 22, f + 24, f + 26, f + 28, f + 30);
  } else if constexpr (kLanes == 8) {
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6, f + 8, f + 10, f + 12, f + 14);
  } else {
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6);
  }
}

// The first `valid` lanes; beyond them lies what somebody else has written.
[[gnu::noinline]] void store_some(float* c, Vec v, int valid) {
  alignas(64) float values[kLanes];
  store(values, v);
  store_quads(values, 0, valid, c);
}

// Finishes the rows of a tile that exist.
template <int R, int V>
[[gnu::always_inline]] inline void finish_rows(Vec (&acc)[R][V], std::ptrdiff_t rows, Vec bias,
                                               const Output& output, float* c,
                                               const DepthwisePixelsRun& t) {
  if (is_clamp(output.epilogue) && output.add == nullptr) {
    const Vec min = broadcast(output.epilogue.min);
    const Vec max = broadcast(output.epilogue.max);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      if (r >= rows) return;
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        const Vec y = clamp(acc[r][v] + bias, min, max);
        if (V > 1 || t.valid_lanes == kLanes || c + kLanes <= t.end) {
          store(c + v * kLanes, y);
        } else {
          store_some(c, y, t.valid_lanes);
        }
      }
      c += output.row_stride;
    }
    return;
  }
  alignas(64) float values[R][V * kLanes];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) store(values[r] + v * kLanes, acc[r][v] + bias);
  }
  Output there = output;
  there.c = c;
  if (there.add != nullptr) there.add += c - output.c;
  finish_in_memory(values[0], static_cast<int>(rows), V * kLanes,
                   V > 1 ? V * kLanes : t.valid_lanes, there);
}

// --- 3×3 and 5×5 ---

// The taps of a row of the image; of outputs a step of two apart, from loads of neighbours.
template <int K, int Step>
[[gnu::always_inline]] inline void load_taps(Vec (&xv)[K], const float* x,
                                             const std::ptrdiff_t (&columns)[K]) {
  if constexpr (Step == 1) {
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) xv[kw] = load(x + columns[kw]);
    return;
  }
  GEMMCONV_UNROLL
  for (int kw = 0; kw < K; kw += 2) {
    const Vec a = load(x + kw);
    const Vec b = load(x + kw + kLanes);
    xv[kw] = every_other<0>(a, b);
    if (kw + 1 < K) xv[kw + 1] = every_other<1>(a, b);
  }
}

// The weights of a 3×3 window stay in registers, those of a larger one in L1.
template <int R, int K, int Step, bool kMasked>
[[gnu::always_inline]] inline void square_tile(Vec (&acc)[R][1], const float* x, const float* w,
                                               const int* masks, const DepthwisePixelsRun& t) {
  const std::ptrdiff_t begin = t.row_begin;
  const std::ptrdiff_t end = t.row_end;
  const std::ptrdiff_t row_stride = t.tap_row_stride;
  const std::ptrdiff_t tap_stride = t.tap_stride;
  std::ptrdiff_t columns[K];
  IntVec mask[K] = {};
  Vec kept[9];
  GEMMCONV_UNROLL
  for (int kw = 0; kw < K; ++kw) {
    columns[kw] = t.columns[kw];
    if (kMasked) mask[kw] = load_mask(masks + kw * kLanes);
  }
  GEMMCONV_UNROLL
  for (int tap = 0; K == 3 && tap < 9; ++tap) kept[tap] = load(w + tap * tap_stride);
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) acc[r][0] = Vec{};
#pragma GCC unroll 32
  for (int i = 0; i < (R - 1) * Step + K; ++i, x += row_stride) {
    if (i < begin || i >= end) continue;
    Vec xv[K];
    load_taps<K, Step>(xv, x, columns);
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) xv[kw] = masked<kMasked>(xv[kw], mask[kw]);
    if (K > 3) asm volatile("" : "+r"(w));  // or GCC keeps weights from row to row, on the stack
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      const int kh = i - r * Step;
      if (kh < 0 || kh >= K) continue;
      GEMMCONV_UNROLL
      for (int kw = 0; kw < K; ++kw) {
        acc[r][0] += xv[kw] * (K == 3 ? kept[kh * 3 + kw] : load(w + (kh * K + kw) * tap_stride));
      }
    }
  }
}

template <bool kMasked, int K, int Step, int R>
void square(const DepthwisePixelsRun& t) {
  std::ptrdiff_t phase = t.phase;
  for (std::ptrdiff_t m = 0; m < t.vectors; ++m) {
    const int* masks = kMasked ? t.masks + m * K * kLanes : nullptr;
    Vec acc[R][1];
    square_tile<R, K, Step, kMasked>(acc, t.x + m * kLanes * Step, t.w + phase, masks, t);
    finish_rows<R, 1>(acc, t.rows, load(t.bias + phase), *t.output, t.output->c + m * kLanes, t);
    phase += t.phase_step;
    if (phase >= t.period) phase -= t.period;
  }
}

// --- any window ---

// The taps of row i of the image for output rows [kBegin, kEnd).
template <bool kMasked, int kBegin, int kEnd, int R, int V>
[[gnu::always_inline]] inline void taps_of_row(Vec (&acc)[R][V], std::ptrdiff_t i, const float* x,
                                               const float* w, const int* masks,
                                               const DepthwisePixelsRun& t) {
  if (i < t.row_begin || i >= t.row_end) return;
  x += i * t.tap_row_stride;
  for (std::ptrdiff_t kw = 0; kw < t.kernel_w; ++kw) {
    Vec xv[V];
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      xv[v] =
          masked<kMasked>(load(x + t.columns[kw] + v * kLanes),
                          kMasked ? load_mask(masks + (v * t.kernel_w + kw) * kLanes) : IntVec{});
    }
    GEMMCONV_UNROLL
    for (int r = kBegin; r < kEnd; ++r) {
      const Vec wv = load(w + ((i - r) * t.kernel_w + kw) * t.tap_stride);
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] += xv[v] * wv;
    }
  }
}

// Rows of the image that only the first output rows see, that all see, that only the last see.
template <bool kMasked, int I, int R, int V>
[[gnu::always_inline]] inline void first_rows(Vec (&acc)[R][V], const float* x, const float* w,
                                              const int* masks, const DepthwisePixelsRun& t) {
  if constexpr (I < R - 1) {
    taps_of_row<kMasked, 0, I + 1>(acc, I, x, w, masks, t);
    first_rows<kMasked, I + 1>(acc, x, w, masks, t);
  }
}

template <bool kMasked, int I, int R, int V>
[[gnu::always_inline]] inline void last_rows(Vec (&acc)[R][V], const float* x, const float* w,
                                             const int* masks, const DepthwisePixelsRun& t) {
  if constexpr (I < R - 1) {
    taps_of_row<kMasked, I + 1, R>(acc, t.kernel_h + I, x, w, masks, t);
    last_rows<kMasked, I + 1>(acc, x, w, masks, t);
  }
}

template <int R, int V, bool kMasked>
[[gnu::always_inline]] inline void tile(const DepthwisePixelsRun& t, std::ptrdiff_t m,
                                        std::ptrdiff_t phase) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  }
  const float* x = t.x + m * kLanes;
  const float* w = t.w + phase;
  const int* masks = kMasked ? t.masks + m * t.kernel_w * kLanes : nullptr;
  first_rows<kMasked, 0>(acc, x, w, masks, t);
  for (std::ptrdiff_t i = R - 1; i < t.kernel_h; ++i) {
    taps_of_row<kMasked, 0, R>(acc, i, x, w, masks, t);
  }
  last_rows<kMasked, 0>(acc, x, w, masks, t);
  finish_rows<R, V>(acc, t.rows, load(t.bias + phase), *t.output, t.output->c + m * kLanes, t);
}

template <int R, int V, bool kMasked>
void run(const DepthwisePixelsRun& t) {
  std::ptrdiff_t m = 0;
  if (t.phase_step == 0) {
    for (; m + V <= t.vectors; m += V) tile<R, V, kMasked>(t, m, 0);
    for (; m + 2 <= t.vectors; m += 2) tile<R, 2, kMasked>(t, m, 0);
  }
  std::ptrdiff_t phase = t.phase;
  for (; m < t.vectors; ++m) {
    tile<R, 1, kMasked>(t, m, phase);
    phase += t.phase_step;
    if (phase >= t.period) phase -= t.period;
  }
}

void spread(const float* weights, std::ptrdiff_t count, float* vectors) {
  for (std::ptrdiff_t i = 0; i < count; ++i) store(vectors + i * kLanes, broadcast(weights[i]));
}

}  // namespace

extern const DepthwisePixelsKernel depthwise_pixels_kernel;
constinit const DepthwisePixelsKernel depthwise_pixels_kernel = {
    kLanes,
    kSquareRows,
    kRows,
    {square<false, 3, 1, kSquareRows>, square<true, 3, 1, kSquareRows>},
    {square<false, 3, 2, kSquareRows>, square<true, 3, 2, kSquareRows>},
    {square<false, 5, 1, kSquareRows>, square<true, 5, 1, kSquareRows>},
    {square<false, 5, 2, kSquareRows>, square<true, 5, 2, kSquareRows>},
    {run<1, kVectors, false>, run<1, kVectors, true>},
    {run<kRows, kVectors, false>, run<kRows, kVectors, true>},
    spread};

}  // namespace gemmconv::GEMMCONV_ISA
