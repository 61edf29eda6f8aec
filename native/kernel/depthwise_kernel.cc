// SPDX-License-Identifier: MIT
// The depthwise microkernel, one source, compiled once per ISA: R rows by V vectors of outputs that
// share a filter (nchw: rows of the image, pixels on the lanes) or have one each (nhwc:
// neighbouring pixels, channels on the lanes). It reads a padded copy, so it knows no borders.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Four rows by two vectors are eight sums, enough for 4 cycles of latency on two units; four
// vectors make fewer and larger windows to copy, where there are the registers.
constexpr int kRows = 4;
constexpr int kVectors = GEMMCONV_REGISTERS >= 32 ? 4 : 2;
static_assert(kRows * kVectors + kVectors + 2 <= GEMMCONV_REGISTERS, "tile spills");

template <bool kWeightsOnLanes, int R, int V>
[[gnu::always_inline]] inline void taps(Vec (&acc)[R][V], const DepthwiseTile& t) {
  const float* w = t.w;
  for (std::ptrdiff_t kh = 0; kh < t.kernel_h; ++kh) {
    const float* x_row = t.x + kh * t.tap_row_stride;
    for (std::ptrdiff_t kw = 0; kw < t.kernel_w; ++kw) {
      const float* x = x_row + t.columns[kw];
      Vec wv[V];
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) wv[v] = kWeightsOnLanes ? load(w + v * kLanes) : broadcast(*w);
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) {
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) {
          acc[r][v] += load(x + r * t.row_stride + v * kLanes) * wv[v];
        }
      }
      w += t.tap_stride;
    }
  }
}

template <int R, int V>
void tile(const DepthwiseTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  }
  if (t.tap_stride == 1) {
    taps<false>(acc, t);
  } else {
    taps<true>(acc, t);
  }
  finish<R, V>(acc, t.valid_lanes, *t.output);
}

template <int R, int V>
constexpr void fill(DepthwiseKernel& kernel) {
  kernel.tile[R - 1][V - 1] = tile<R, V>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, kVectors>(kernel);
  }
}

constexpr DepthwiseKernel make() {
  DepthwiseKernel kernel{kLanes, kRows, kVectors, {}};
  fill<kRows, kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const DepthwiseKernel depthwise_kernel;
constinit const DepthwiseKernel depthwise_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
