// SPDX-License-Identifier: MIT
// The depthwise microkernels of whole planes with pixels on the lanes, for 3×3 and 5×5 windows, one
// source, compiled once per ISA: plane after plane in one call, so that the processor begins with
// one while it finishes another. Vectors side by side are walked downwards. Each row of the image
// is met by all outputs whose window holds it, of which the uppermost is then finished: so weights
// stay in registers, and nothing is loaded twice but where tiles meet. Each output still meets its
// taps in order.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Side by side with steps of two, where what a vector is made of reaches into the next: half as
// many loads across cache lines (Zen 4, 3×3, 56 pixels a side: 870 cycles a plane, alone 1070).
constexpr int kVectors = GEMMCONV_REGISTERS >= 16 ? 2 : 1;

// --- halves of vectors, for planes so narrow that two fit ---

struct Half {
  typedef float Vector __attribute__((vector_size(kLanes / 2 * sizeof(float))));
  typedef float Unaligned
      __attribute__((vector_size(kLanes / 2 * sizeof(float)), aligned(alignof(float)), may_alias));
};

template <int... I>
[[gnu::always_inline]] inline Vec join(Half::Vector a, Half::Vector b, Indices<I...>) {
  return __builtin_shufflevector(a, b, I...);
}

[[gnu::always_inline, maybe_unused]] inline Vec load_halves(const float* a, const float* b) {
  return join(*reinterpret_cast<const Half::Unaligned*>(a),
              *reinterpret_cast<const Half::Unaligned*>(b), typename UpTo<kLanes>::Type{});
}

[[gnu::always_inline]] inline Vec broadcast_halves(float a, float b) {
  return join(a - Half::Vector{}, b - Half::Vector{}, typename UpTo<kLanes>::Type{});
}

template <int kFirst, int... I>
[[gnu::always_inline]] inline void store_half(float* c, Vec v, Indices<I...>) {
  *reinterpret_cast<Half::Unaligned*>(c) = __builtin_shufflevector(v, v, (kFirst + I)...);
}

// --- taps ---

// Lanes kFirst, kFirst + 2, kFirst + 4, … of two neighbouring vectors.
template <int kFirst, int... I>
[[gnu::always_inline]] inline Vec every_other(Vec a, Vec b, Indices<I...>) {
  return __builtin_shufflevector(a, b, (kFirst + 2 * I)...);
}

// All lanes but the first, and then one of another vector.
template <int kLane, int... I>
[[gnu::always_inline]] inline Vec next_lanes(Vec v, Vec other, Indices<I...>) {
  return __builtin_shufflevector(v, other, (I + 1 < kLanes ? I + 1 : kLanes + kLane)...);
}

// The vectors of a row of the image from which V vectors' taps are made, and what comes after them.
template <int K, int Step, int V, int P>
struct Line;

template <int K, int V, int P>
struct Line<K, 1, V, P> {
  static constexpr int kLoads = V * K;

  // `other` floats further on lies the other plane's row.
  template <int kIndex>
  [[gnu::always_inline]] static Vec load_one(const float* x, std::ptrdiff_t other) {
    x += kIndex / K * kLanes + kIndex % K;
    if constexpr (P == 2) return load_halves(x, x + other);
    return load(x);
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[K][V], const Vec (&line)[kLoads]) {
    GEMMCONV_UNROLL
    for (int i = 0; i < kLoads; ++i) xv[i % K][i / K] = line[i];
  }
};

template <int K, int V>
struct Line<K, 2, V, 1> {
  static constexpr int kLoads = 2 * V + 1;
  static constexpr typename UpTo<kLanes>::Type kAll{};

  // After whole vectors the last window's K - 2 columns: one is in all lanes, of three the last is
  // in the last lane.
  template <int kIndex>
  [[gnu::always_inline]] static Vec load_one(const float* x, std::ptrdiff_t) {
    if constexpr (kIndex < 2 * V) return load(x + kIndex * kLanes);
    if constexpr (K == 3) return broadcast(x[2 * V * kLanes]);
    return load(x + (2 * V - 1) * kLanes + K - 2);
  }

  // Taps that lie two columns further on are, but for the last lane, the next lanes.
  template <int kTap>
  [[gnu::always_inline]] static void shift(Vec (&xv)[K][V], Vec end) {
    GEMMCONV_UNROLL
    for (int v = 0; v + 1 < V; ++v) {
      xv[kTap][v] = next_lanes<kTap / 2 - 1>(xv[kTap - 2][v], xv[kTap % 2][v + 1], kAll);
    }
    constexpr int kLane = K == 3 ? 0 : kLanes - K + kTap;
    xv[kTap][V - 1] = next_lanes<kLane>(xv[kTap - 2][V - 1], end, kAll);
    if constexpr (kTap + 1 < K) shift<kTap + 1>(xv, end);
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[K][V], const Vec (&line)[kLoads]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      xv[0][v] = every_other<0>(line[2 * v], line[2 * v + 1], kAll);
      xv[1][v] = every_other<1>(line[2 * v], line[2 * v + 1], kAll);
    }
    shift<2>(xv, line[2 * V]);
  }
};

// A row of each of two planes, of which every other lane makes half a vector. What the last lane of
// either half should be is in neither: it is no output's.
template <>
struct Line<3, 2, 1, 2> {
  static constexpr int kLoads = 2;
  static constexpr typename UpTo<kLanes>::Type kAll{};

  template <int kIndex>
  [[gnu::always_inline]] static Vec load_one(const float* x, std::ptrdiff_t other) {
    return load(x + kIndex * other);
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[3][1], const Vec (&line)[kLoads]) {
    xv[0][0] = every_other<0>(line[0], line[1], kAll);
    xv[1][0] = every_other<1>(line[0], line[1], kAll);
    xv[2][0] = next_lanes<0>(xv[0][0], xv[0][0], kAll);
  }
};

// K×K windows that move on by Step: what is taken along downwards. V vectors are side by side, or
// one has halves of two planes (P = 2). Where registers are few the compiler keeps weights in
// memory.
template <int K, int Step, int V, int P>
struct Column {
  using OfLine = Line<K, Step, V, P>;
  static constexpr int kLoads = OfLine::kLoads;
  static constexpr int kSums = (K + Step - 1) / Step;

  Vec w[K * K];
  IntVec mask[kLoads];
  Vec sums[V][kSums];  // of the outputs whose windows hold the row at hand, the lowest first
  std::ptrdiff_t other;

  [[gnu::always_inline]] void load_weights(const float* weights, const float* others) {
#pragma GCC unroll 32
    for (int tap = 0; tap < K * K; ++tap) {
      w[tap] = P == 2 ? broadcast_halves(weights[tap], others[tap]) : broadcast(weights[tap]);
    }
  }

  // Before the first row, at the given columns.
  [[gnu::always_inline]] void begin(const int* inside) {
    load_masks<0>(inside);
    GEMMCONV_UNROLL
    for (int q = 0; q < kSums; ++q) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) sums[v][q] = Vec{};
    }
  }

  template <int I>
  [[gnu::always_inline]] void load_masks(const int* inside) {
    if constexpr (I < kLoads) {
      const auto* there = reinterpret_cast<const float*>(inside);
      mask[I] = reinterpret_cast<IntVec>(OfLine::template load_one<I>(there, 0));
      load_masks<I + 1>(inside);
    }
  }

  template <int I>
  [[gnu::always_inline]] void load_line(Vec (&line)[kLoads], const float* x) const {
    if constexpr (I < kLoads) {
      line[I] = masked(OfLine::template load_one<I>(x, other), mask[I]);
      load_line<I + 1>(line, x);
    }
  }

  // Row kFirst of the window of the lowest, kFirst + Step of that above it, and so on.
  template <int kFirst>
  [[gnu::always_inline]] void meet(const float* x) {
    Vec line[kLoads], xv[K][V];
    load_line<0>(line, x);
    keep_load();
    OfLine::taps(xv, line);
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) {
      GEMMCONV_UNROLL
      for (int q = 0; q < kSums; ++q) {
        const int kh = kFirst + q * Step;
        if (kh >= K) continue;
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) sums[v][q] += xv[kw][v] * w[kh * K + kw];
      }
    }
  }

  // The uppermost is finished, and another begins.
  [[gnu::always_inline]] void next(Vec (&finished)[V]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      finished[v] = sums[v][kSums - 1];
      move_up(sums[v], typename UpTo<kSums - 1>::Type{});
      sums[v][0] = Vec{};
    }
  }
};

// --- planes ---

template <int K, int Step, int V, int P>
struct Descent {
  static constexpr std::ptrdiff_t kBegin = Column<K, Step, V, P>::kSums - 1;

  Column<K, Step, V, P> column;
  Vec bias, min, max;
  bool clamps;
  std::ptrdiff_t x_stride, c_stride, other_output;

  // An output is stored whole, whatever lies beyond the row. No loop of its own for those that are
  // clamped: a branch that is foreseen takes no time.
  [[gnu::always_inline]] void finish(float* c) {
    Vec y[V];
    column.next(y);
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) y[v] += bias;
    int clamps_here = clamps;
    asm("" : "+r"(clamps_here));
    if (clamps_here != 0) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) y[v] = clamp(y[v], min, max);
    }
    if constexpr (P == 2) {
      constexpr typename UpTo<kLanes / 2>::Type kHalf;
      store_half<0>(c, y[0], kHalf);
      store_half<kLanes / 2>(c + other_output, y[0], kHalf);
    } else {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) store(c + v * kLanes, y[v]);
    }
  }

  // For so many floats, that they be read or written.
  template <int kFloats, int kWritten>
  [[gnu::always_inline]] static void ask(const float* there) {
    GEMMCONV_UNROLL
    for (int i = 0; i < kFloats; i += 16) __builtin_prefetch(there + i, kWritten, 2);
  }

  // Steps of which all rows of the image exist.
  [[gnu::always_inline]] void plain(std::ptrdiff_t steps, const float* x, float* c,
                                    std::ptrdiff_t ahead, std::ptrdiff_t output_ahead) {
    for (; steps > 0; --steps) {
      ask<Step * V * kLanes, 0>(x + ahead);
      if (Step == 2) ask<Step * V * kLanes, 0>(x + x_stride + ahead);
      ask<V * kLanes, 1>(c + output_ahead);
      column.template meet<0>(x);
      if constexpr (Step == 2) column.template meet<1>(x + x_stride);
      x += Step * x_stride;
      finish(c);
      c += c_stride;
    }
  }

  // The outputs of a row from c on, and those below. An output is finished kBegin steps after it
  // has begun.
  [[gnu::always_inline]] void down(const float* x, float* c, const DepthwisePlanesRun& t) {
    const std::ptrdiff_t begin = t.row_begin, end = t.row_end;
    const std::ptrdiff_t steps = kBegin + t.rows;
    std::ptrdiff_t plain_begin = (begin + Step - 1) / Step;
    if (plain_begin < kBegin) plain_begin = kBegin;
    const std::ptrdiff_t plain_end = end / Step;
    for (std::ptrdiff_t step = 0; step < steps; ++step) {
      if (step == plain_begin && step < plain_end) {
        const std::ptrdiff_t count = plain_end - step;
        plain(count, x, c, t.ahead, t.output_ahead);
        x += count * Step * x_stride;
        c += count * c_stride;
        step = plain_end;
        if (step == steps) return;
      }
      const std::ptrdiff_t i = step * Step;
      if (i >= begin && i < end) column.template meet<0>(x);
      if constexpr (Step == 2) {
        if (i + 1 >= begin && i + 1 < end) column.template meet<1>(x + x_stride);
      }
      x += Step * x_stride;
      if (step < kBegin) {
        Vec none[V];
        column.next(none);
        continue;
      }
      finish(c);
      c += c_stride;
    }
  }
};

template <int K, int Step, int V, int P>
void planes(const DepthwisePlanesRun& t) {
  Descent<K, Step, V, P> d;
  d.min = broadcast(t.min);
  d.max = broadcast(t.max);
  d.clamps = t.min != -__builtin_inff() || t.max != __builtin_inff();
  d.x_stride = t.row_stride;
  d.c_stride = t.output_row_stride;
  d.other_output = t.other_output;
  d.column.other = t.other;
  const float* x = t.x;
  float* c = t.c;
  const float* w = t.w;
  for (std::ptrdiff_t p = 0; p < t.planes; ++p) {
    d.column.load_weights(w, w + t.other_filter * K * K);
    d.bias =
        P == 2 ? broadcast_halves(t.bias[p], t.bias[p + t.other_filter]) : broadcast(t.bias[p]);
    // The last vectors end where the row does, and overlap those before them.
    for (std::ptrdiff_t at = 0;; at = at + V * kLanes < t.last ? at + V * kLanes : t.last) {
      d.column.begin(t.inside + at * Step);
      d.down(x + at * Step, c + at, t);
      if (at == t.last) break;
    }
    w += K * K;
    x += t.plane_stride;
    c += t.output_plane_stride;
  }
}

// What a clamp does not finish.
void finish_plane(float* sums, std::ptrdiff_t count, const Output& output) {
  finish_in_memory(sums, 1, static_cast<int>(count), static_cast<int>(count), output);
}

constexpr DepthwisePlanesKernel make() {
  DepthwisePlanesKernel kernel{
      kLanes, kVectors, {planes<3, 1, 1, 1>, planes<5, 1, 1, 1>}, {}, {}, nullptr, finish_plane};
  kernel.by_two[0][0] = planes<3, 2, 1, 1>;
  kernel.by_two[1][0] = planes<5, 2, 1, 1>;
  if constexpr (kVectors > 1) {
    kernel.by_two[0][1] = planes<3, 2, 2, 1>;
    kernel.by_two[1][1] = planes<5, 2, 2, 1>;
  }
  if constexpr (kLanes >= 16) {
    kernel.pair[0] = planes<3, 1, 1, 2>;
    kernel.pair[1] = planes<5, 1, 1, 2>;
    kernel.pair_by_two = planes<3, 2, 1, 2>;
  }
  return kernel;
}

}  // namespace

extern const DepthwisePlanesKernel depthwise_planes_kernel;
constinit const DepthwisePlanesKernel depthwise_planes_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
