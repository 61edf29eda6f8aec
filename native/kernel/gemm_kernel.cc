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

// Whether there are tiles that pack: of kMr rows and of one less, which the first of several even
// panels has, unless there are but seven or eight rows in all (SSE2 gains too little for 8 KB of
// code). Asking for the pixels to come, little by little, is what they gain most from (1×1
// 256->64@56 in a batch of 8: 12.0 -> 9.4 ms, AVX2 on Zen 4; 20.1 -> 12.7, AVX-512 on Sapphire
// Rapids).
constexpr bool kPacks = kLanes >= 8;

// With many registers a tile asks for A and for outputs, too; with few that costs 1 to 3 %.
constexpr bool kAsksForMore = GEMMCONV_REGISTERS >= 32;

// A streams from L2: asking for it 4 KB early hides the latency (found by trial, flat from 2 to 8).
constexpr int kPrefetchFloats = 1024;

// A panel's lines of one step.
constexpr int kPanelLines = (kVectors * kLanes + kLineFloats - 1) / kLineFloats;

// The memory that comes after the K loop: rows of outputs of this tile, or of the sums that the
// next tile continues from. Asked for row by row and as late as will do, not all at once: a core
// waits for no more than 16 lines (Sapphire Rapids), and then neither A nor B come (1×1 64->256@56:
// 2.30 -> 0.93 ms).
template <int R, int V>
struct RowsToCome {
  static constexpr std::ptrdiff_t kEvery = 8, kMargin = 4;  // steps, rows

  const float* row;
  std::ptrdiff_t stride, every, next;
  int left;

  [[gnu::always_inline]] explicit RowsToCome(const GemmTile& t) {
    const bool are_outputs = t.last && t.output->lane_stride == 1;
    const bool are_sums = !are_outputs && !(t.first && t.last);
    row = are_outputs ? t.output->c : t.partial + R * V * kLanes;
    stride = are_outputs ? t.output->row_stride : V * kLanes;
    left = are_outputs || are_sums ? R : 0;
    every = t.k / (R + kMargin);
    every = every < 1 ? 1 : every < kEvery ? every : kEvery;
    next = left > 0 ? t.k - every * (R + kMargin) : t.k;
    if (next < 0) next = 0;
  }

  // Calls of which steps are left.
  [[gnu::always_inline]] void ask(std::ptrdiff_t steps_left) {
    GEMMCONV_UNROLL
    for (int i = 0; i < V * kLanes; i += kLineFloats) __builtin_prefetch(row + i, 1);
    __builtin_prefetch(row + V * kLanes - 1, 1);
    row += stride;
    next = --left > 0 ? every : steps_left;
  }
};

template <bool kCopies, int R, int V>
[[gnu::always_inline]] inline void add_steps(Vec (&acc)[R][V], const GemmTile& t) {
  const float* a = t.a;
  const float* b = t.b;
  const float* ask = t.ask;
  const std::ptrdiff_t b_stride = kCopies ? t.b_stride : V * kLanes;
  float* packed = t.b_packed;
  RowsToCome<R, V> rows(t);
  std::ptrdiff_t until_ask = 0;
  std::ptrdiff_t steps = 0;
  for (std::ptrdiff_t left = t.k; left > 0; left -= steps) {
    if (!kAsksForMore || until_ask == 0) {
      GEMMCONV_UNROLL
      for (int i = 0; i < kPanelLines; ++i) __builtin_prefetch(ask + i * kLineFloats);
      ask += t.b_stride;
      until_ask = t.ask_every;
    }
    steps = left < until_ask ? left : until_ask;
    if constexpr (kAsksForMore) {
      if (rows.next == 0) rows.ask(left);
      if (steps > rows.next) steps = rows.next;
      rows.next -= steps;
      until_ask -= steps;
    }
    for (std::ptrdiff_t k = steps; k > 0; --k) {
      if constexpr (kAsksForMore) __builtin_prefetch(a + kPrefetchFloats);
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
  add_steps<kCopies>(acc, t);
  if (t.last) {
    if constexpr (kAsksForMore) {
      finish<R, V>(acc, t.valid_lanes, *t.output);
    } else {
      finish_tile(acc, t);
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
