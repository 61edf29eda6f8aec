// SPDX-License-Identifier: MIT
// The direct microkernel with pixels on the lanes, one source, compiled once per ISA: R output
// channels by V vectors of neighbouring output pixels, the whole (c, kh, kw) chain in registers.
// Weights are broadcast; where a tap's pixels lie is looked up, so that it does not matter here
// whether they are read in place or from a padded copy.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Nine rows of three vectors, or six of two: the most a tap's loads are shared while the sums fit.
constexpr int kMr = GEMMCONV_REGISTERS >= 32 ? 9 : 6;

// Fewer rows have more vectors: R·V sums, V vectors of pixels and a weight fit the registers.
constexpr int vectors_of(int rows) {
  const int vectors = (GEMMCONV_REGISTERS - 1) / (rows + 1);
  return vectors < kMaxPixelVectors ? vectors : kMaxPixelVectors;
}

template <int R, int V>
void tile(const DirectPixelsTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  }
  const float* w = t.w;
  for (std::ptrdiff_t k = 0; k < t.k; ++k) {
    const float* x = t.x + t.taps[k];
    Vec xv[V];
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) xv[v] = load(x + v * kLanes);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec wv = broadcast(w[r]);
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] += wv * xv[v];
    }
    w += R;
  }
  finish<R, V>(acc, t.valid_lanes, *t.output);
}

template <int R, int V>
constexpr void fill(DirectPixelsKernel& kernel) {
  kernel.tile[R - 1][V - 1] = tile<R, V>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    kernel.vectors[R - 2] = vectors_of(R - 1);
    fill<R - 1, vectors_of(R - 1)>(kernel);
  }
}

constexpr DirectPixelsKernel make() {
  DirectPixelsKernel kernel{kLanes, kMr, {}, {}};
  kernel.vectors[kMr - 1] = vectors_of(kMr);
  fill<kMr, vectors_of(kMr)>(kernel);
  return kernel;
}

}  // namespace

extern const DirectPixelsKernel direct_pixels_kernel;
constinit const DirectPixelsKernel direct_pixels_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
