// SPDX-License-Identifier: MIT
// The depthwise microkernels with pixels on the lanes, one source, compiled once per ISA: a run of
// vectors along some rows of outputs. They walk the rows of the image under them: a vector of a row
// is loaded once for all output rows whose window holds it, because loads across cache lines, as
// most of these are, would take longer than the multiply-adds. Each output still meets its taps in
// order.
#include "depthwise_taps.h"
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {

extern const ChannelVectorsKernel channel_vectors_kernel;

namespace {

// Rows and vectors of outputs of any other window.
constexpr int kRows = 4;
constexpr int kVectors = GEMMCONV_REGISTERS >= 32 ? 4 : 2;
// Columns of a 3×3 window side by side, and of a 5×5 one.
constexpr int kBeside = GEMMCONV_REGISTERS >= 32 ? 4 : kLanes > 4 ? 2 : 1;
constexpr int kBesideOf5x5 = GEMMCONV_REGISTERS >= 32 ? 1 : kBeside;

// The first `valid` lanes; beyond them lies what somebody else has written.
[[gnu::noinline]] void store_some(float* c, Vec v, int valid) {
  alignas(64) float values[kLanes];
  store(values, v);
  store_quads(values, 0, valid, c);
}

// How sums become outputs.
struct Finish {
  Vec bias, min, max;
  bool in_registers, clamps;
};

[[gnu::always_inline]] inline Finish finish_of(const DepthwisePixelsRun& t, std::ptrdiff_t phase) {
  const Epilogue& e = t.output->epilogue;
  return {load(t.bias + phase), broadcast(e.min), broadcast(e.max),
          is_clamp(e) && t.output->add == nullptr, !is_unbounded(e)};
}

// Some vectors of a row that a clamp alone does not finish.
[[gnu::noinline]] void finish_some(float* values, int columns, const DepthwisePixelsRun& t,
                                   float* c) {
  Output there = *t.output;
  if (there.add != nullptr) there.add += c - there.c;
  there.c = c;
  channel_vectors_kernel.finish(values, 1, columns, columns > kLanes ? columns : t.valid_lanes,
                                there);
}

template <int V>
[[gnu::always_inline]] inline void finish_row(const Vec (&acc)[V], const Finish& finish,
                                              const DepthwisePixelsRun& t, float* c) {
  Vec y[V];
  GEMMCONV_UNROLL
  for (int v = 0; v < V; ++v) y[v] = acc[v] + finish.bias;
  if (finish.in_registers) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) y[v] = clamp(y[v], finish.min, finish.max);
    if (V > 1 || t.valid_lanes == kLanes || c + kLanes <= t.end) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) store(c + v * kLanes, y[v]);
    } else {
      store_some(c, y[0], t.valid_lanes);
    }
    return;
  }
  alignas(64) float values[V * kLanes];
  GEMMCONV_UNROLL
  for (int v = 0; v < V; ++v) store(values + v * kLanes, y[v]);
  finish_some(values, V * kLanes, t, c);
}

// --- 3×3 and 5×5 ---
// Columns of vectors are walked downwards. Each row of the image is met by all outputs whose window
// holds it, of which the uppermost is then finished: so weights stay in registers, nothing is
// loaded twice but where runs meet, and the processor overlaps the rows' chains (Zen 4: 9.4 cycles
// a vector of nine multiply-adds, of one a cycle).
//
// Alone, a column waits where a few rows are about whole pages of 4 KB long: its loads take the
// stores to rows above, whose addresses are equal but for the page, for their own until these are
// done. Others beside it compute meanwhile (Zen 4, 1024×1024 1.0 ms alone, 0.6 by twos, 0.33 by
// fours).

// In how many rows of a run a whole vector may be stored, from c down.
[[gnu::always_inline]] inline std::ptrdiff_t whole_rows(const DepthwisePixelsRun& t,
                                                        const float* c) {
  if (t.valid_lanes == kLanes) return t.rows;
  const std::ptrdiff_t room = t.end - c - kLanes;
  if (room < 0) return 0;
  const std::ptrdiff_t rows = room / t.output->row_stride + 1;
  return rows < t.rows ? rows : t.rows;
}

template <int K, int V, bool kMasked>
struct Descent {
  Columns<K, V, kMasked> columns;
  const Finish finish;
  const float* x;
  float* c;
  const std::ptrdiff_t x_stride, c_stride, ahead, output_ahead;

  // Steps of which all rows of the image exist and the outputs are stored as they are, in a loop
  // that branches nowhere else (3×3: 12.7 cycles a vector, with the other steps' 14.8).
  template <bool kClamps, bool kStreamed = false>
  [[gnu::always_inline]] void plain(std::ptrdiff_t steps) {
    for (; steps > 0; --steps) {
      columns.meet(x, ahead);
      x += x_stride;
      Vec sums[V];
      columns.next(sums);
      float* to = c;
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        Vec y = sums[v] + finish.bias;
        if (kClamps) y = clamp(y, finish.min, finish.max);
        if constexpr (kStreamed) {
          stream(to, y);
        } else {
          __builtin_prefetch(to + output_ahead, 1, 2);
          store(to, y);
        }
        to = columns.next_column(to);
      }
      c += c_stride;
    }
  }
};

template <int K, int V, bool kMasked, bool kStreamed = false>
[[gnu::always_inline]] inline void descend(const DepthwisePixelsRun& t, std::ptrdiff_t m,
                                           std::ptrdiff_t phase, Vec* weights = nullptr) {
  constexpr std::ptrdiff_t kBegin = K - 1;
  Descent<K, V, kMasked> d{Columns<K, V, kMasked>(t, m, phase, weights),
                           finish_of(t, phase),
                           t.x + m * kLanes,
                           t.output->c + m * kLanes,
                           t.tap_row_stride,
                           t.output->row_stride,
                           t.ahead,
                           t.output_ahead};
  // An output is finished kBegin steps after it has begun.
  const std::ptrdiff_t begin = t.row_begin, end = t.row_end;
  const std::ptrdiff_t plain_begin = begin < kBegin ? kBegin : begin;
  std::ptrdiff_t plain_end = end;
  const std::ptrdiff_t whole = d.finish.in_registers ? kBegin + whole_rows(t, d.c) : 0;
  if (whole < plain_end) plain_end = whole;
  const std::ptrdiff_t steps = kBegin + t.rows;
  for (std::ptrdiff_t step = 0; step < steps; ++step) {
    if (step == plain_begin && plain_begin < plain_end) {
      constexpr bool kMayStream = kStreams && !kMasked && kVectorsOfLine == 1;
      if (kStreamed || (kMayStream && t.streams)) {
        d.template plain<true, kStreamed || kMayStream>(plain_end - step);
      } else if (V > 1 || d.finish.clamps) {
        d.template plain<true>(plain_end - step);
      } else {
        d.template plain<false>(plain_end - step);
      }
      step = plain_end;
      if (step == steps) return;
    }
    if (step >= begin && step < end) d.columns.meet(d.x, t.ahead);
    d.x += d.x_stride;
    Vec sums[V];
    d.columns.next(sums);
    if (step < kBegin) continue;
    for (int v = 0; v < V; ++v) {
      const Vec sum[1] = {sums[v]};
      finish_row<1>(sum, d.finish, t, d.c + v * d.columns.beside);
    }
    d.c += d.c_stride;
  }
}

struct Phase {
  std::ptrdiff_t now, step, period;

  void next() {
    now += step;
    if (now >= period) now -= period;
  }
};

// As many groups of V columns of the same weights as there are.
template <int K, int V>
void beside(const DepthwisePixelsRun& t, std::ptrdiff_t& m, Phase& phase) {
  for (; m + V * t.alike <= t.vectors; m += V * t.alike) {
    for (std::ptrdiff_t i = 0; i < t.alike; ++i, phase.next()) {
      if constexpr (Columns<K, V, false>::kSharesWeights) {
        Vec weights[K * K];
        descend<K, V, false>(t, m + i, phase.now, weights);
      } else {
        descend<K, V, false>(t, m + i, phase.now);
      }
    }
  }
}

// Where a line is several vectors. Apart from the others, whose loop would else keep fewer weights
// in registers (AVX2, 3×3: 13 loads of 18 multiply-adds, 15 beside this one).
template <int K>
[[gnu::noinline]] void stream_lines(const DepthwisePixelsRun& t) {
  Vec weights[K * K];
  for (std::ptrdiff_t m = 0; m + kVectorsOfLine <= t.vectors; m += kVectorsOfLine) {
    descend<K, kVectorsOfLine, false, true>(t, m, t.phase, weights);
  }
}

// Four columns that are apart would be too wide for L1 (nhwc, 3 channels, 1920 pixels: 0.74 and
// 1.23 ns a pixel of four, 0.73 and 0.91 of two).
template <bool kMasked, int K>
void square(const DepthwisePixelsRun& t) {
  std::ptrdiff_t m = 0;
  Phase phase{t.phase, t.phase_step, t.period};
  if constexpr (!kMasked && kStreams && kVectorsOfLine > 1) {
    if (t.streams) {
      stream_lines<K>(t);
      return;
    }
  }
  if constexpr (!kMasked && K == 3 && kBeside > 2) {
    if (t.alike == 1) beside<K, kBeside>(t, m, phase);
  }
  if constexpr (!kMasked && K == 3 && kBeside > 1) beside<K, 2>(t, m, phase);
  if constexpr (!kMasked && K == 5 && kBesideOf5x5 > 1) beside<K, kBesideOf5x5>(t, m, phase);
  for (; m < t.vectors; ++m, phase.next()) descend<K, 1, kMasked>(t, m, phase.now);
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
      xv[v] = load(x + t.columns[kw] + v * kLanes);
      if (kMasked) xv[v] = masked(xv[v], load_mask(masks + (v * t.kernel_w + kw) * kLanes));
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
  const Finish finish = finish_of(t, phase);
  float* c = t.output->c + m * kLanes;
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    if (r >= t.rows) return;
    finish_row<V>(acc[r], finish, t, c);
    c += t.output->row_stride;
  }
}

template <int R, int V, bool kMasked>
void run(const DepthwisePixelsRun& t) {
  std::ptrdiff_t m = 0;
  if (t.phase_step == 0) {
    for (; m + V <= t.vectors; m += V) tile<R, V, kMasked>(t, m, t.phase);
    for (; m + 2 <= t.vectors; m += 2) tile<R, 2, kMasked>(t, m, t.phase);
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
    kStreams,
    {kRows, kVectors},
    {3, kBeside},
    {5, kBesideOf5x5},
    {square<false, 3>, square<true, 3>},
    {square<false, 5>, square<true, 5>},
    {run<1, kVectors, false>, run<1, kVectors, true>},
    {run<kRows, kVectors, false>, run<kRows, kVectors, true>},
    spread,
    end_streaming};

}  // namespace gemmconv::GEMMCONV_ISA
