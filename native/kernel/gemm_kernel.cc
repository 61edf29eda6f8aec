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

// A streams from L2: asking for it 4 KB early hides the latency (found by trial, flat from 2 to 8).
constexpr int kPrefetchFloats = 1024;

// Asks for the memory that comes after the K loop: the outputs of this tile, or the sums that the
// next tile continues from.
template <int R, int V>
[[gnu::always_inline]] inline void prefetch_ahead(const GemmTile& t) {
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

template <int R, int V>
void tile(const GemmTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      acc[r][v] = t.first ? Vec{} : load(t.partial + (r * V + v) * kLanes);
    }
  }
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
  if (t.last) {
    finish<R, V>(acc, t.valid_lanes, *t.output);
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
  kernel.tile[R - 1][V - 1] = tile<R, V>;
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, kVectors>(kernel);
  }
}

constexpr GemmKernel make() {
  GemmKernel kernel{kLanes, kMr, kVectors, {}, &few_rows_kernel};
  fill<kMr, kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const GemmKernel gemm_kernel;
// constinit: code of this file must not run before the CPU has been asked.
constinit const GemmKernel gemm_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
