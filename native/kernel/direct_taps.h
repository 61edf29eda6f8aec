// SPDX-License-Identifier: MIT
// One row of taps, of all kinds that tiles of the direct kernel with channels on the lanes find:
// the multiply-adds of R neighbouring output pixels by V vectors of output channels.
#pragma once

#include "kernel.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

constexpr int kMr = GEMMCONV_MR;
constexpr int kVectors = GEMMCONV_VECTORS;
static_assert(kMr * kVectors + kVectors + 1 <= GEMMCONV_REGISTERS, "tile spills");

// Without one GCC 12 keeps the sums of three unrolled taps on the stack (SSE2).
constexpr bool kHasSpareRegister = kMr * kVectors + kVectors + 1 < GEMMCONV_REGISTERS;

// With 16 registers few pixels leave too few sums to keep the multiply-add units busy, unless they
// have a vector more. 32 hold enough sums whatever the pixels.
constexpr bool kHasWide = GEMMCONV_REGISTERS == 16;
constexpr int kWideVectors = kVectors + 1;
constexpr int kWideMr = kHasWide ? (GEMMCONV_REGISTERS - 1) / kWideVectors - 1 : 0;

constexpr int vectors_of(int rows) { return rows <= kWideMr ? kWideVectors : kVectors; }

// The weights stream past once a tile. How many taps ahead to ask for them was found by trial: with
// the large tile any distance from 32 does on Zen 4, on Zen 5 it took 9 to 18 KB (84 -> 109 % of
// peak on 512@14); with the small one 32 taps gain 5 % over 96 (AVX2, Zen 4).
constexpr int kTapsAhead = GEMMCONV_REGISTERS == 32 ? 96 : 32;

// What a tap asks for may be told, at the price of a pointer more; beside the few multiply-adds of
// the small tile that costs 2 to 6 % (3×3 of ResNet-50, AVX2, Zen 4).
constexpr bool kAsks = GEMMCONV_REGISTERS == 32;
// Then tiles of a 1×1 filter ask only as often as they are told, see Pointwise.
constexpr bool kCountsAsks = !kAsks;

// Keeps the loads of one tap behind those of the one before. Mixed, all prefetches of a row come at
// once (111 instead of 117 % of peak on 512@7, Zen 4). Of wide tiles it also has the sums in
// registers, a row's three together. Left alone, GCC 12 trades one for a weight that it reads too
// early (3×3 512@7 on AVX2: 1.95 instead of 1.88 ms).
template <int R, int V>
[[gnu::always_inline, maybe_unused]] inline void keep_apart(Vec (&acc)[R][V]) {
  asm volatile("" ::: "memory");
  if constexpr (V > kVectors) {
    static_assert(V == 3 || !kHasWide);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      asm volatile("" : "+x"(acc[r][0]), "+x"(acc[r][1]), "+x"(acc[r][2]));
    }
  }
}

// Has the sums in registers between two taps, each by itself. Unlike keep_apart it leaves what
// tiles are told in registers, too: rows of taps that differ have few instructions to spare (AVX2,
// Zen 4, cycles a row of five taps, of which two lack pixels: five pixels 26.5 -> 24.0, four of
// three vectors 29.1 -> 27.0).
template <int R, int V>
[[gnu::always_inline, maybe_unused]] inline void keep_sums(Vec (&acc)[R][V]) {
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) asm volatile("" : "+x"(acc[r][v]));
  }
}

// The multiply-adds of one tap of those pixels for which `is_inside` says yes.
template <int R, int V, typename Inside>
[[gnu::always_inline]] inline void multiply_add(Vec (&acc)[R][V], const float* x, const float* w,
                                                std::ptrdiff_t pixel_stride, Inside is_inside) {
  Vec wv[V];
  GEMMCONV_UNROLL
  for (int v = 0; v < V; ++v) wv[v] = load(w + v * kLanes);
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    // Pixels in threes: the addresses [x], [x + s] and [x + 2s] cost nothing.
    if (r > 0 && r % 3 == 0) {
      x += 3 * pixel_stride;
      forget(x);
    }
    if (!is_inside(r)) continue;
    const Vec xv = broadcast(x[r % 3 * pixel_stride]);
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] += xv * wv[v];
  }
}

// One tap, which asks for what comes later.
template <int R, int V, typename Inside>
[[gnu::always_inline]] inline void tap(Vec (&acc)[R][V], const float* x, const float* w,
                                       const float* ask, std::ptrdiff_t pixel_stride,
                                       Inside is_inside) {
  const float* const next = kAsks ? ask : w + kTapsAhead * V * kLanes;
  __builtin_prefetch(next);
  if (V * kLanes > kLineFloats) __builtin_prefetch(next + kLineFloats);
  multiply_add(acc, x, w, pixel_stride, is_inside);
}

// What a tile of such rows finishes at once, if its output is simple: the way through memory takes
// a tenth of a short sum (3×3 over three channels, Zen 4). Each way to finish, of one kind of rows,
// is 16 KB of the addon: at a border all are clamped, and those that it cuts in any way are few.
enum class AtOnce { none, clamped, any };

// On AVX2 the short sums to which it matters are direct_rows_kernel.cc's.
constexpr bool kClampsAll = GEMMCONV_REGISTERS == 16;

// A row of any number of taps, all inside.
struct AnyRow {
  static constexpr AtOnce kAtOnce = AtOnce::any;
  static constexpr bool kLeavesOut = true;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t, const float* x,
                                         const float*& w, const float*& ask) {
    for (std::ptrdiff_t kw = t.row_taps; kw > 0; --kw) {
      tap(acc, x, w, ask, t.pixel_stride, [](int) { return true; });
      x += t.tap_column_stride;
      w += V * kLanes;
      ask += t.ask_step;
    }
  }
};

// Each tap inside for some of the pixels.
struct CutRow {
  static constexpr AtOnce kAtOnce = AtOnce::none;
  static constexpr bool kLeavesOut = false;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t, const float* x,
                                         const float*& w, const float*& ask) {
    for (std::ptrdiff_t kw = 0; kw < t.row_taps; ++kw) {
      const unsigned inside = t.pixels[kw];
      tap(acc, x, w, ask, t.pixel_stride, [=](int r) { return (inside >> r & 1) != 0; });
      x += t.tap_column_stride;
      w += V * kLanes;
      ask += t.ask_step;
    }
  }
};

// Taps that lack some of the first pixels, each one fewer, whole ones, and taps that lack more and
// more of the last. In a loop with a test for each pixel tiles at a border took longer than whole
// ones: CPUs fetch so many jumps no faster than they multiply (AVX2, Zen 4, cycles a row of five
// taps: of six pixels, 27 of multiply-adds, 31.2 -> 28.2, of five 28.2 -> 24.0).
struct CutEnds {
  static constexpr AtOnce kAtOnce = AtOnce::none;
  static constexpr bool kLeavesOut = false;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t, const float* x,
                                         const float*& w, const float*& ask) {
    static_assert(kMostCut == 3 && R > kMostCut);
    const unsigned first = t.pixels[0], whole = t.pixels[1], last = t.pixels[2];
    const std::ptrdiff_t column = t.tap_column_stride, pixel = t.pixel_stride;
    const auto one = [&](auto is_inside) __attribute__((always_inline)) {
      tap(acc, x, w, ask, pixel, is_inside);
      x += column;
      w += V * kLanes;
      ask += t.ask_step;
      keep_sums(acc);
    };
    if (first > 0) {
      if (first > 1) {
        if (first > 2) one([](int r) { return r >= 3; });
        one([](int r) { return r >= 2; });
      }
      one([](int r) { return r >= 1; });
    }
    for (unsigned i = whole; i > 0; --i) one([](int) { return true; });
    if (last > 0) {
      one([](int r) { return r < R - 1; });
      if (last > 1) {
        one([](int r) { return r < R - 2; });
        if (last > 2) one([](int r) { return r < R - 3; });
      }
    }
  }
};

enum class Cut { nowhere, ends, sides };

// Three taps, of which a border cuts the first pixel of the first, or the last of the last, or
// neither: in a loop over kw, and with a test for each pixel, 14×14 planes were 8 % slower and
// 56×56 planes 6 % (Zen 4, AVX-512). Or it cuts those two taps for any pixels: a branch of each
// pixel and tap is foreseen, one that a loop over kw shares between taps is not (AVX2, Zen 4: 3×3
// 256@28, dilation 2, 10.9 -> 10.2 ms).
template <Cut kCut>
struct ThreeTaps {
  static constexpr AtOnce kAtOnce = kCut == Cut::nowhere ? AtOnce::any
                                    : kCut == Cut::ends  ? AtOnce::clamped
                                                         : AtOnce::none;
  static constexpr bool kLeavesOut = false;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t, const float* x,
                                         const float*& w, const float*& ask) {
    const std::ptrdiff_t column = t.tap_column_stride, pixel = t.pixel_stride;
    const std::ptrdiff_t ask_step = t.ask_step;
    const unsigned first = kCut == Cut::nowhere ? ~0u : t.pixels[0];
    const unsigned last = kCut == Cut::nowhere ? ~0u : t.pixels[2];
    const bool has_first = (first & 1) != 0, has_last = (last >> (R - 1) & 1) != 0;
    const auto in_first = [=](int r) {
      return kCut == Cut::sides ? (first >> r & 1) != 0 : r > 0 || has_first;
    };
    const auto in_last = [=](int r) {
      return kCut == Cut::sides ? (last >> r & 1) != 0 : r < R - 1 || has_last;
    };
    tap(acc, x, w, ask, pixel, in_first);
    x += column;
    ask += ask_step;
    keep_apart(acc);
    tap(acc, x, w + V * kLanes, ask, pixel, [](int) { return true; });
    x += column;
    ask += ask_step;
    keep_apart(acc);
    tap(acc, x, w + 2 * V * kLanes, ask, pixel, in_last);
    ask += ask_step;
    w += 3 * V * kLanes;
  }
};

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
