// SPDX-License-Identifier: MIT
// The GEMM microkernel, one source, compiled once per ISA. A tile of R rows by V vectors stays in
// registers for the whole K block: per step of k, V loads of B, R broadcasts of A, R·V FMAs.
// Broadcasts go to a register first: FMAs with an embedded {1to16} operand reached 81-86 % of
// peak where separate broadcasts reach 98 % (Zen 5, GCC 12).
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {

extern const FewRowsKernel few_rows_kernel;

namespace {

constexpr int kMr = GEMMCONV_MR;
constexpr int kVectors = GEMMCONV_VECTORS;
static_assert(kMr * kVectors + kVectors + 1 <= GEMMCONV_REGISTERS, "tile spills");
static_assert(kMr <= kMaxRows && kVectors <= kMaxVectors);

// With few registers a tile asks for what it is told to, little by little, which is what the pixels
// to come gain most from (1×1 256->64@56 in a batch of 8, AVX2 on Zen 4: 12.0 -> 9.4 ms); asking as
// with many, for A and for outputs, costs 1 to 3 %.
constexpr bool kAsksAsTold = GEMMCONV_REGISTERS < 32;

// Whether there are tiles that pack: of kMr rows and of one less, which the first of several even
// panels has, unless there are but seven or eight rows in all (SSE2 gains too little for 8 KB of
// code).
constexpr bool kPacks = kAsksAsTold && kLanes >= 8;

// A streams from L2: asking for it 4 KB early hides the latency (found by trial, flat from 2 to 8).
constexpr int kPrefetchFloats = 1024;

// Asks for the memory that comes after the K loop: the outputs of this tile, or the sums that the
// next tile continues from.
template <int R, int V>
[[gnu::always_inline, maybe_unused]] inline void prefetch_ahead(const GemmTile& t) {
  if (!t.last || !t.first) {
    GEMMCONV_UNROLL
    for (int i = 0; i < R * V; ++i) __builtin_prefetch(t.partial + (R * V + i) * kLanes, 1);
  }
  if (t.last && t.output->lane_stride == 1) {
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      const float* c = t.output->c + r * t.output->row_stride;
      __builtin_prefetch(c, 1);
      __builtin_prefetch(c + V * kLanes - 1, 1);
    }
  }
}

template <bool kCopies, int R, int V>
[[gnu::always_inline, maybe_unused]] inline void add_asking(Vec (&acc)[R][V], const GemmTile& t) {
  const float* a = t.a;
  const float* b = t.b;
  const float* ask = t.ask;
  const std::ptrdiff_t b_stride = kCopies ? t.b_stride : V * kLanes;
  float* packed = t.b_packed;
  std::ptrdiff_t steps = 0;
  for (std::ptrdiff_t left = t.k; left > 0; left -= steps) {
    steps = left < t.ask_every ? left : t.ask_every;
    __builtin_prefetch(ask);
    ask += t.b_stride;
    for (std::ptrdiff_t k = steps; k > 0; --k) {
      Vec bv[V];
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        bv[v] = load(b + v * kLanes);
        if constexpr (kCopies) store(packed + v * kLanes, bv[v]);
      }
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) {
        const Vec av = broadcast(a[r]);
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) acc[r][v] += av * bv[v];
      }
      a += R;
      b += b_stride;
      if constexpr (kCopies) packed += V * kLanes;
    }
  }
}

// What short sums of pixels end in mostly has a form of its own, as in direct_pixels_kernel.cc.
template <int R, int V>
[[gnu::always_inline, maybe_unused]] inline void finish_tile(Vec (&acc)[R][V], const GemmTile& t) {
  const Output& out = *t.output;
  if (out.lane_stride == 1 && t.valid_lanes == V * kLanes && !out.bias_on_lanes &&
      out.add == nullptr && is_clamp(out.epilogue) && is_unbounded(out.epilogue)) {
    finish_simple<false, false>(acc, out);
    return;
  }
  finish(acc, t.valid_lanes, out);
}

template <int R, int V, bool kCopies>
void tile(const GemmTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      acc[r][v] = t.first ? Vec{} : load(t.partial + (r * V + v) * kLanes);
    }
  }
  if constexpr (kAsksAsTold) {
    add_asking<kCopies>(acc, t);
  } else {
    prefetch_ahead<R, V>(t);
    const float* a = t.a;
    const float* b = t.b;
    for (std::ptrdiff_t k = t.k; k > 0; --k) {
      __builtin_prefetch(a + kPrefetchFloats);
      Vec bv[V];
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) bv[v] = load(b + v * kLanes);
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) {
        const Vec av = broadcast(a[r]);
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) acc[r][v] += av * bv[v];
      }
      a += R;
      b += V * kLanes;
    }
  }
  if (t.last) {
    if constexpr (kAsksAsTold) {
      finish_tile(acc, t);
    } else {
      finish<R, V>(acc, t.valid_lanes, *t.output);
    }
    return;
  }
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) store(t.partial + (r * V + v) * kLanes, acc[r][v]);
  }
}

template <int R, int V>
constexpr void fill(GemmKernel& kernel) {
  kernel.tile[R - 1][V - 1] = tile<R, V, false>;
  if constexpr (kPacks && V == kVectors && R >= kMr - 1) kernel.packing[R - 1] = tile<R, V, true>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, kVectors>(kernel);
  }
}

constexpr GemmKernel make() {
  GemmKernel kernel{kLanes, kMr, kVectors, {}, {}, &few_rows_kernel};
  fill<kMr, kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const GemmKernel gemm_kernel;
// constinit: code of this file must not run before the CPU has been asked.
constinit const GemmKernel gemm_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
