// SPDX-License-Identifier: MIT
// The parts of a Winograd convolution, one source, compiled once per ISA: tiles to frequencies, the
// product of each frequency, frequencies back to tiles. Channels lie on the lanes throughout, so
// tiles need no vector's worth of neighbours and nchw is nhwc with a transposition at either end
// (channel_vectors_kernel.cc).
#include "kernel.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

constexpr int kMr = GEMMCONV_MR;
constexpr int kVectors = GEMMCONV_VECTORS;

// --- transforms ----------------------------------------------------------------------------------
// Cook-Toom: multiply polynomials at points and interpolate, transposed to a correlation (Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). With m(x) = Π (x - p) over the
// finite points,
//   Bᵀ, row p: the coefficients of m(x) / (x - p); row ∞: those of m(x)
//   G, row p: (1, p, p², …) / m'(p); row ∞: (0, …, 0, 1)
//   Aᵀ, column p: (1, p, p², …); column ∞: (0, …, 0, 1).
// G is in winograd.cc.

// Points 0, ±1, ∞.
struct F2 {
  static constexpr int kTile = 2, kSide = 4;

  [[gnu::always_inline]] static void input(const Vec (&x)[4], Vec (&y)[4]) {
    y[0] = x[2] - x[0];
    y[1] = x[2] + x[1];
    y[2] = x[2] - x[1];
    y[3] = x[3] - x[1];
  }

  [[gnu::always_inline]] static void output(const Vec (&x)[4], Vec (&y)[2]) {
    y[0] = x[0] + (x[1] + x[2]);
    y[1] = x[3] + (x[1] - x[2]);
  }
};

// Points 0, ±a, ±b, ∞ with a = 5/8, b = 3/2: their powers up to the third are exact, and the error
// is a quarter of that of the textbook's ±1, ±2 (Barabasz et al., "Error Analysis and Improving the
// Accuracy of Winograd Convolution for Deep Neural Networks", 2018, on the choice of points).
struct F4 {
  static constexpr int kTile = 4, kSide = 6;
  static constexpr float a = 5.0f / 8, b = 3.0f / 2;

  [[gnu::always_inline]] static void input(const Vec (&x)[6], Vec (&y)[6]) {
    const Vec even_a = x[4] - b * b * x[2];
    const Vec odd_a = x[3] - b * b * x[1];
    const Vec even_b = x[4] - a * a * x[2];
    const Vec odd_b = x[3] - a * a * x[1];
    y[0] = (x[4] - (a * a + b * b) * x[2]) + a * a * b * b * x[0];
    y[1] = even_a + a * odd_a;
    y[2] = even_a - a * odd_a;
    y[3] = even_b + b * odd_b;
    y[4] = even_b - b * odd_b;
    y[5] = (x[5] - (a * a + b * b) * x[3]) + a * a * b * b * x[1];
  }

  [[gnu::always_inline]] static void output(const Vec (&x)[6], Vec (&y)[4]) {
    const Vec sum_a = x[1] + x[2];
    const Vec difference_a = x[1] - x[2];
    const Vec sum_b = x[3] + x[4];
    const Vec difference_b = x[3] - x[4];
    const Vec scaled_1 = a * difference_a;
    const Vec scaled_2 = a * a * sum_a;
    y[0] = (x[0] + sum_a) + sum_b;
    y[1] = scaled_1 + b * difference_b;
    y[2] = scaled_2 + b * b * sum_b;
    y[3] = (x[5] + a * a * a * difference_a) + b * b * b * difference_b;
  }
};

// Of 5×5 filters. The points are F4's, and so is the input transform, which knows no filter.
struct F2Of5x5 {
  static constexpr int kTile = 2, kSide = 6;

  [[gnu::always_inline]] static void output(const Vec (&x)[6], Vec (&y)[2]) {
    y[0] = (x[0] + (x[1] + x[2])) + (x[3] + x[4]);
    y[1] = (x[5] + F4::a * (x[1] - x[2])) + F4::b * (x[3] - x[4]);
  }
};

// V = Bᵀ·d·B.
template <typename F>
void input(const float* strip, std::ptrdiff_t strip_row_stride, std::ptrdiff_t strip_pixel_stride,
           float* v, std::ptrdiff_t frequency_stride) {
  constexpr int kSide = F::kSide;
  Vec half[kSide][kSide];
  GEMMCONV_UNROLL
  for (int i = 0; i < kSide; ++i) {
    Vec x[kSide];
    GEMMCONV_UNROLL
    for (int j = 0; j < kSide; ++j) x[j] = load(strip + j * strip_pixel_stride);
    F::input(x, half[i]);
    strip += strip_row_stride;
  }
  GEMMCONV_UNROLL
  for (int j = 0; j < kSide; ++j) {
    Vec x[kSide], y[kSide];
    GEMMCONV_UNROLL
    for (int i = 0; i < kSide; ++i) x[i] = half[i][j];
    F::input(x, y);
    float* to = v + j * frequency_stride;
    GEMMCONV_UNROLL
    for (int i = 0; i < kSide; ++i) {
      store(to, y[i]);
      to += kSide * frequency_stride;
    }
  }
}

// Y = Aᵀ·M·A.
template <typename F>
void output(const WinogradResult& t) {
  constexpr int kSide = F::kSide;
  Vec half[kSide][F::kTile];
  GEMMCONV_UNROLL
  for (int i = 0; i < kSide; ++i) {
    const float* m = t.m + i * kSide * t.frequency_stride;
    Vec x[kSide];
    GEMMCONV_UNROLL
    for (int j = 0; j < kSide; ++j) {
      x[j] = load(m);
      m += t.frequency_stride;
    }
    F::output(x, half[i]);
  }
  const bool whole = t.rows == F::kTile && t.columns == F::kTile;
  GEMMCONV_UNROLL
  for (int j = 0; j < F::kTile; ++j) {
    Vec x[kSide], y[F::kTile];
    GEMMCONV_UNROLL
    for (int i = 0; i < kSide; ++i) x[i] = half[i][j];
    F::output(x, y);
    float* to = t.strip + j * t.strip_pixel_stride;
    GEMMCONV_UNROLL
    for (int i = 0; i < F::kTile; ++i) {
      if (whole || (i < t.rows && j < t.columns)) store(to, y[i]);
      to += t.strip_row_stride;
    }
  }
}

// --- product -------------------------------------------------------------------------------------

// The GEMM microkernel's loop on another layout of A: whole vectors of channels, as the transform
// stores them. The rows of a block lie a constant apart, so one pointer addresses all broadcasts.
template <int R, int V>
void product(const WinogradProduct& t) {
  const float* b = t.u;
  const float* ahead = t.ahead;
  for (std::ptrdiff_t c = 0, end = t.chain; c < t.channels; end += t.chain) {
    Vec acc[R][V];
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
    }
    const bool first = c == 0;
    end = end < t.channels ? end : t.channels;
    while (c < end) {
      const std::ptrdiff_t lane = c % kLanes;
      const std::ptrdiff_t steps = kLanes - lane < end - c ? kLanes - lane : end - c;
      const float* a = t.v + (c - lane) * R + lane;
      c += steps;
      // Unrolled by GCC, all kLanes steps of it, this loop spills (a third slower on SSE2).
#pragma GCC unroll 1
      for (const float* a_end = a + steps; a != a_end; ++a) {
        Vec bv[V];
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) bv[v] = load(b + v * kLanes);
        GEMMCONV_UNROLL
        for (int r = 0; r < R; ++r) {
          const Vec av = broadcast(a[r * kLanes]);
          GEMMCONV_UNROLL
          for (int v = 0; v < V; ++v) acc[r][v] += av * bv[v];
        }
        b += V * kLanes;
        // A step of two vectors of AVX-512 is two lines.
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + t.ahead_step / 2);
        ahead += t.ahead_step;
      }
    }
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        float* m = t.m + (r * V + v) * kLanes;
        if (!first) acc[r][v] += load(m);
        store(m, acc[r][v]);
      }
    }
  }
}

template <int R, int V>
constexpr void fill(WinogradKernel& kernel) {
  kernel.product[R - 1][V - 1] = product<R, V>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, kVectors>(kernel);
  }
}

constexpr WinogradKernel make() {
  WinogradKernel kernel{kLanes,
                        kMr,
                        kVectors,
                        {F2::kTile, 3, F2::kSide, input<F2>, output<F2>},
                        {F4::kTile, 3, F4::kSide, input<F4>, output<F4>},
                        {F2Of5x5::kTile, 5, F2Of5x5::kSide, input<F4>, output<F2Of5x5>},
                        {}};
  fill<kMr, kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const WinogradKernel winograd_kernel;
constinit const WinogradKernel winograd_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
