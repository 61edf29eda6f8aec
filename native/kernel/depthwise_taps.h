// SPDX-License-Identifier: MIT
// What the taps of vectors of a row of outputs are, of the depthwise kernels with pixels on the
// lanes: loads, where windows move on by one, and shuffles of these where by two. Lines for whole
// planes, columns for runs of any pixels.
#pragma once

#include "depthwise_kernels.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

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

// --- every other pixel ---

// Steps of two take every other pixel of two neighbouring vectors. Each four lanes are two of the
// first and two of the second, which one cheap shuffle makes of them, and outputs are put in order
// when they are stored (Zen 4: that shuffle finds a place beside multiply-adds, two thirds of one
// across lanes do not; 3×3, 56 pixels a side: 830 cycles a plane, in order all along 875).
constexpr int lane_of(int output) {
  const int i = output % (kLanes / 2);
  return i / 2 * 4 + i % 2 + output / (kLanes / 2) * 2;
}

constexpr int output_of(int lane) { return lane / 4 * 2 + lane % 2 + lane / 2 % 2 * (kLanes / 2); }

template <int kFirst, int... I>
[[gnu::always_inline]] inline Vec every_other(Vec a, Vec b, Indices<I...>) {
  return __builtin_shufflevector(a, b, (kFirst + 2 * output_of(I))...);
}

// For outputs of which the first half is of another plane than the second.
template <int... I>
[[gnu::always_inline]] inline Vec broadcast_quads(float a, float b, Indices<I...>) {
  return __builtin_shufflevector(broadcast(a), broadcast(b), (I % 4 < 2 ? I : kLanes + I)...);
}

template <int... I>
[[gnu::always_inline]] inline Vec in_order(Vec v, Indices<I...>) {
  return __builtin_shufflevector(v, v, lane_of(I)...);
}

// What all outputs but the first have, and then a lane of another vector.
template <int kLane, int... I>
[[gnu::always_inline]] inline Vec next_outputs(Vec v, Vec other, Indices<I...>) {
  constexpr int kLast = kLanes - 1;
  return __builtin_shufflevector(
      v, other, (output_of(I) < kLast ? lane_of(output_of(I) + 1) : kLanes + kLane)...);
}

// The same from the first lane of the other, which takes the place of the first output before all
// are moved: a blend finds a place anywhere, where another permutation does not.
template <int... I>
[[gnu::always_inline]] inline Vec next_with_first(Vec v, Vec other, Indices<I...>) {
  const Vec first = __builtin_shufflevector(v, other, (I == 0 ? kLanes : I)...);
  return __builtin_shufflevector(first, first, (lane_of((output_of(I) + 1) % kLanes))...);
}

// --- taps ---

// Whether only those parts of 3×3 windows that move on by two are masked that lie outside the image
// where no more than half a window does: where registers are few, masks are loaded each time (Zen
// 4, AVX2, 56 pixels a side: 1290 -> 1165 cycles a plane).
constexpr bool kMasksEdges = GEMMCONV_REGISTERS < 32;

// What the taps of V vectors of a row of the image are made of: of these `parts` lanes outside the
// image are to read zero.
template <int K, int Step, int V, int P>
struct Line;

template <int K, int V, int P>
struct Line<K, 1, V, P> {
  static constexpr int kParts = V * K;
  static constexpr bool is_masked(int) { return true; }

  // `other` floats further on lies the other plane's row.
  [[gnu::always_inline]] static void load_parts(Vec (&parts)[kParts], const float* x,
                                                std::ptrdiff_t other) {
    GEMMCONV_UNROLL
    for (int i = 0; i < kParts; ++i) {
      const float* at = x + i / K * kLanes + i % K;
      if constexpr (P == 2) {
        parts[i] = load_halves(at, at + other);
      } else {
        parts[i] = load(at);
      }
    }
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[K][V], const Vec (&parts)[kParts]) {
    GEMMCONV_UNROLL
    for (int i = 0; i < kParts; ++i) xv[i % K][i / K] = parts[i];
  }
};

template <int K, int V>
struct Line<K, 2, V, 1> {
  // Of windows no wider than their step nothing reaches into the next vector.
  static constexpr bool kBroadcasts = K == 2 || (GEMMCONV_REGISTERS < 32 && (K == 3 || V > 1));
  static constexpr int kParts = 2 * V + (kBroadcasts ? K - 2 : 1);
  static constexpr bool is_masked(int part) {
    if (!kMasksEdges || K > 3 || part == 0) return true;
    return K == 2 ? part == 2 * V - 1 : part >= 2 * V - 2 && part != 2 * V - 1;
  }
  static constexpr typename UpTo<kLanes>::Type kAll{};

  // After whole vectors the last window's K - 2 columns: each in all lanes of a part of its own;
  // or in one part, one in all lanes, of three the last in the last lane.
  [[gnu::always_inline]] static void load_parts(Vec (&parts)[kParts], const float* x,
                                                std::ptrdiff_t) {
    Vec line[2 * V];
    GEMMCONV_UNROLL
    for (int i = 0; i < 2 * V; ++i) line[i] = load(x + i * kLanes);
    const float* const end = x + 2 * V * kLanes;
    if constexpr (!kBroadcasts) {
      parts[2 * V] = K == 3 ? broadcast(end[0]) : load(end - kLanes + K - 2);
    }
    keep_load();
    GEMMCONV_UNROLL
    for (int i = 2 * V; i < kParts && kBroadcasts; ++i) parts[i] = broadcast(end[i - 2 * V]);
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      parts[2 * v] = every_other<0>(line[2 * v], line[2 * v + 1], kAll);
      parts[2 * v + 1] = every_other<1>(line[2 * v], line[2 * v + 1], kAll);
    }
  }

  template <int kTap>
  [[gnu::always_inline]] static void shift_broadcast(Vec (&xv)[K][V], const Vec (&parts)[kParts]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      const Vec& next = v + 1 < V ? xv[kTap - 2][v + 1] : parts[2 * V + kTap - 2];
      xv[kTap][v] = next_with_first(xv[kTap - 2][v], next, kAll);
    }
    if constexpr (kTap + 1 < K) shift_broadcast<kTap + 1>(xv, parts);
  }

  // Taps that lie two columns further on are, but for the last output's, those of the next.
  template <int kTap>
  [[gnu::always_inline]] static void shift(Vec (&xv)[K][V], Vec end) {
    GEMMCONV_UNROLL
    for (int v = 0; v + 1 < V; ++v) {
      xv[kTap][v] = next_outputs<kTap / 2 - 1>(xv[kTap - 2][v], xv[kTap % 2][v + 1], kAll);
    }
    constexpr int kLane = K == 3 ? 0 : kLanes - K + kTap;
    xv[kTap][V - 1] = next_outputs<kLane>(xv[kTap - 2][V - 1], end, kAll);
    if constexpr (kTap + 1 < K) shift<kTap + 1>(xv, end);
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[K][V], const Vec (&parts)[kParts]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      xv[0][v] = parts[2 * v];
      xv[1][v] = parts[2 * v + 1];
    }
    if constexpr (K > 2 && kBroadcasts) {
      shift_broadcast<2>(xv, parts);
    } else if constexpr (K > 2) {
      shift<2>(xv, parts[2 * V]);
    }
  }
};

// A row of each of two planes, of which every other lane makes half a vector. What the last lane of
// either half should be is in neither: it is no output's.
template <>
struct Line<3, 2, 1, 2> {
  static constexpr int kParts = 2;
  static constexpr bool is_masked(int) { return true; }
  static constexpr typename UpTo<kLanes>::Type kAll{};

  [[gnu::always_inline]] static void load_parts(Vec (&parts)[kParts], const float* x,
                                                std::ptrdiff_t other) {
    const Vec a = load(x);
    const Vec b = load(x + other);
    keep_load();
    parts[0] = every_other<0>(a, b, kAll);
    parts[1] = every_other<1>(a, b, kAll);
  }

  [[gnu::always_inline]] static void taps(Vec (&xv)[3][1], const Vec (&parts)[kParts]) {
    xv[0][0] = parts[0];
    xv[1][0] = parts[1];
    xv[2][0] = next_outputs<0>(parts[0], parts[0], kAll);
  }
};

// --- columns of vectors, of any run of pixels (depthwise_pixels_kernel.cc) ---

// What columns side by side take along: the sums of the outputs whose windows hold the row at hand,
// the lowest output's first. Where registers are few the compiler keeps weights in memory. Of a 5×5
// window there are so many that each had better be loaded once for all columns: of one, loads take
// longer than multiply-adds, and these wait for each other (Zen 4, AVX2: 19 to 21 cycles a vector
// of 25, by twos 14.8).
template <int K, int V, bool kMasked>
struct Columns {
  static constexpr bool kSharesWeights = K > 3 && V > 1 && GEMMCONV_REGISTERS < 32;

  Vec w[K * K];
  Vec* const shared;  // the same
  IntVec mask[K];
  std::ptrdiff_t taps[K];
  std::ptrdiff_t beside;  // from one to the next
  Vec sums[V][K];

  [[gnu::always_inline]] Columns(const DepthwisePixelsRun& t, std::ptrdiff_t m,
                                 std::ptrdiff_t phase, Vec* memory)
      : shared(memory), beside(t.alike * kLanes) {
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) {
      taps[kw] = t.columns[kw];
      mask[kw] = kMasked ? load_mask(t.masks + (m * K + kw) * kLanes) : IntVec{};
    }
#pragma GCC unroll 32
    for (int tap = 0; tap < K * K; ++tap) w[tap] = load(t.w + phase + tap * t.tap_stride);
    if constexpr (kSharesWeights) {
#pragma GCC unroll 32
      for (int tap = 0; tap < K * K; ++tap) shared[tap] = w[tap];
      asm volatile("" : : "r"(shared) : "memory");
    }
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      GEMMCONV_UNROLL
      for (int q = 0; q < K; ++q) sums[v][q] = Vec{};
    }
  }

  [[gnu::always_inline]] void load_taps(Vec (&xv)[K], const float* x) const {
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) xv[kw] = load(x + taps[kw]);
    keep_load();
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K && kMasked; ++kw) xv[kw] = masked(xv[kw], mask[kw]);
  }

  // Left alone, GCC keeps the addresses of all columns on the stack.
  template <typename T>
  [[gnu::always_inline]] T* next_column(T* p) const {
    if constexpr (V > 1) {
      p += beside;
      asm("" : "+r"(p));
    }
    return p;
  }

  // As meet.
  [[gnu::always_inline]] void meet_together(const float* x, std::ptrdiff_t ahead) {
    const float* columns[V];
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      columns[v] = x;
      __builtin_prefetch(x + ahead, 0, 2);
      x = next_column(x);
    }
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) {
      Vec xv[V];
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) xv[v] = load(columns[v] + taps[kw]);
      GEMMCONV_UNROLL
      for (int q = 0; q < K; ++q) {
        const Vec wv = shared[q * K + kw];
        keep_load();
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) sums[v][q] += xv[v] * wv;
      }
    }
  }

  // The first row of the window of the lowest, the second of that above it, and so on.
  [[gnu::always_inline]] void meet(const float* x, std::ptrdiff_t ahead) {
    if constexpr (kSharesWeights) {
      meet_together(x, ahead);
      return;
    }
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      __builtin_prefetch(x + ahead, 0, 2);
      Vec xv[K];
      load_taps(xv, x);
      GEMMCONV_UNROLL
      for (int kw = 0; kw < K; ++kw) {
        GEMMCONV_UNROLL
        for (int q = 0; q < K; ++q) sums[v][q] += xv[kw] * w[q * K + kw];
      }
      x = next_column(x);
    }
  }

  // The uppermost are finished, and others begin.
  [[gnu::always_inline]] void next(Vec (&finished)[V]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      finished[v] = sums[v][K - 1];
      move_up(sums[v], typename UpTo<K - 1>::Type{});
      sums[v][0] = Vec{};
    }
  }
};

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
