// SPDX-License-Identifier: MIT
// The direct microkernel, one source, compiled once per ISA: R neighbouring output pixels by V
// vectors of output channels, the whole (c, kh, kw) chain in registers. Pixels are broadcast in
// place from the image, padded taps are skipped: nothing is packed and nothing multiplied by zero.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

constexpr int kMr = GEMMCONV_MR;
constexpr int kVectors = GEMMCONV_VECTORS;

// The weights stream past once a tile; 9 to 18 KB ahead was best (84 -> 109 % on 512@14, Zen 5).
constexpr int kPrefetchFloats = 3072;

// Makes the compiler forget how a pointer came about. Left alone, GCC precomputes the offset of
// each of the tile's pixels and keeps them all on the stack.
[[gnu::always_inline]] inline void forget(const float*& p) { asm("" : "+r"(p)); }

template <int R, int V, bool kAllInside>
[[gnu::always_inline]] inline void tap(Vec (&acc)[R][V], const float* x, const float* w,
                                       std::ptrdiff_t pixel_stride, PixelRange inside) {
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
    if (!kAllInside && (r < inside.begin || r >= inside.end)) continue;
    const Vec xv = broadcast(x[r % 3 * pixel_stride]);
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] += xv * wv[v];
  }
}

template <int R, int V, bool kAllInside>
[[gnu::always_inline]] inline void taps(Vec (&acc)[R][V], const DirectTile& t) {
  for (std::ptrdiff_t c = 0; c < t.channels; ++c) {
    for (std::ptrdiff_t kh = t.kh_begin; kh < t.kh_end; ++kh) {
      const float* x = t.x + c * t.channel_stride + kh * t.tap_row_stride;
      const float* w = t.w + (c * t.kernel_h + kh) * t.kernel_w * (V * kLanes);
      for (std::ptrdiff_t kw = 0; kw < t.kernel_w; ++kw) {
        __builtin_prefetch(w + kPrefetchFloats);
        __builtin_prefetch(w + kPrefetchFloats + 16);
        tap<R, V, kAllInside>(acc, x, w, t.pixel_stride, kAllInside ? PixelRange{} : t.pixels[kw]);
        x += t.tap_column_stride;
        w += V * kLanes;
      }
    }
  }
}

template <int R, int V>
void tile(const DirectTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  }
  if (t.pixels == nullptr) {
    taps<R, V, true>(acc, t);
  } else {
    taps<R, V, false>(acc, t);
  }
  finish<R, V>(acc, t.valid_lanes, *t.output);
}

template <int R, int V>
constexpr void fill(DirectKernel& kernel) {
  kernel.tile[R - 1][V - 1] = tile<R, V>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, kVectors>(kernel);
  }
}

constexpr DirectKernel make() {
  DirectKernel kernel{kLanes, kMr, kVectors, {}};
  fill<kMr, kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const DirectKernel direct_kernel;
constinit const DirectKernel direct_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
