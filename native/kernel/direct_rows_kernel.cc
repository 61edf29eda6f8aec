// SPDX-License-Identifier: MIT
// The direct microkernel of short sums: R neighbouring output pixels by V vectors of output
// channels, as in direct_kernel.cc, but many tiles in one call, of an image in which every tap is
// there. What is done between two tiles is then little enough to hide behind their multiply-adds
// (3×3 over three channels, AVX2, Zen 4: 162 cycles of multiply-adds a tile, 166 to 172 in all; 210
// with a call for each).
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

constexpr TileShape kUsual = {6, 2};
constexpr TileShape kWide = {4, 3};

// Of use where a tile is as small as AVX2's. Panels are those of direct_kernel.cc.
constexpr bool kExists =
    GEMMCONV_REGISTERS == 16 && kLanes == 8 && GEMMCONV_VECTORS == kUsual.vectors;

constexpr bool fits(TileShape tile) {
  return tile.mr * tile.vectors + tile.vectors + 1 <= GEMMCONV_REGISTERS;
}
static_assert(!kExists || (fits(kUsual) && fits(kWide)), "tile spills");

template <int R, int V>
[[gnu::always_inline]] inline void add_steps(Vec (&acc)[R][V], const DirectRowsRun& t,
                                             const float* image, const float*& w) {
  const std::ptrdiff_t* const end = t.taps + t.k;
  for (const std::ptrdiff_t* tap = t.taps; tap != end; ++tap) {
    const float* const x = image + *tap;
    Vec wv[V];
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) wv[v] = load(w + v * kLanes);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec xv = broadcast(x[r * t.pixel_stride]);
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] += xv * wv[v];
    }
    w += V * kLanes;
  }
}

// Panels inside: neighbours in memory are written one after the other.
template <int R, int V, bool kClamps>
void run(const DirectRowsRun& run) {
  const DirectRowsRun t = run;  // a store may alias it
  const Vec min = broadcast(t.min);
  const Vec max = broadcast(t.max);
  const float* x = t.x;
  float* first = t.c;
  for (std::ptrdiff_t i = t.tiles; i > 0; --i) {
    const float* w = t.w;
    const float* bias = t.bias;
    float* panel = first;
    for (std::ptrdiff_t p = t.panels; p > 0; --p) {
      Vec acc[R][V] = {};
      add_steps(acc, t, x, w);
      float* c = panel;
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) {
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) {
          const Vec y = acc[r][v] + load(bias + v * kLanes);
          store(c + v * kLanes, kClamps ? clamp(y, min, max) : y);
        }
        c += t.output_stride;
      }
      panel += V * kLanes;
      bias += V * kLanes;
    }
    x += R * t.pixel_stride;
    first += R * t.output_stride;
  }
}

template <int R, int kLeast, int V>
constexpr void fill(DirectRowsKernel& kernel) {
  kernel.run[0][R - 1][V - 1] = run<R, V, false>;
  kernel.run[1][R - 1][V - 1] = run<R, V, true>;
  if constexpr (R > kLeast) fill<R - 1, kLeast, V>(kernel);
}

constexpr DirectRowsKernel make() {
  DirectRowsKernel kernel{kLanes, {}, {}, {}};
  if constexpr (kExists) {
    kernel.usual = kUsual;
    kernel.wide = kWide;
    // Rows of 20 outputs or more, with wide tiles of six, are cut into tiles of no fewer pixels.
    fill<6, 5, 2>(kernel);
    fill<6, 5, 1>(kernel);
    fill<4, 3, 3>(kernel);
  }
  return kernel;
}

}  // namespace

extern const DirectRowsKernel direct_rows_kernel;
constinit const DirectRowsKernel direct_rows_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
