// SPDX-License-Identifier: MIT
// The direct microkernel, one source, compiled once per ISA: R neighbouring output pixels by V
// vectors of output channels, the whole (c, kh, kw) chain in registers. Pixels are broadcast in
// place from the image, padded taps are skipped: nothing is packed and nothing multiplied by zero.
#include "direct_taps.h"
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// The taps of every channel, row by row.
template <typename Row>
struct Rows {
  static constexpr AtOnce kAtOnce = Row::kAtOnce;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t) {
    const std::ptrdiff_t rows = t.tap_rows;
    const std::ptrdiff_t skipped = t.skipped_rows_taps;
    const std::ptrdiff_t skipped_of_row = Row::kLeavesOut ? t.skipped_of_row : 0;
    const float* w = t.w + t.first_tap * (V * kLanes);
    const float* ask = t.ask;
    const float* x_channel = t.x;
    std::ptrdiff_t ahead = t.ahead;
    for (std::ptrdiff_t c = t.channels; c > 0; --c) {
      const float* x = x_channel;
      for (std::ptrdiff_t kh = rows; kh > 0; --kh) {
        // A tile of 14 pixels mostly lies on two cache lines; for one of 7 asking for a second cost
        // 5 % (512@7, Zen 4).
        const float* image = x + ahead;
        forget(image);
        __builtin_prefetch(image);
        if (R > 8) __builtin_prefetch(image + 15);
        Row::add(acc, t, x, w, ask);
        x += t.tap_row_stride;
        w += skipped_of_row * (V * kLanes);
        ask += skipped_of_row * t.ask_step;
      }
      x_channel += t.channel_stride;
      ahead += t.ahead_step;
      w += skipped * (V * kLanes);
      ask += skipped * t.ask_step;
    }
  }
};

// A 1×1 filter: one tap a channel. In small tiles, where whatever is asked for takes the place of a
// load, only some taps ask: the image need be asked for but once, and weights come in order, so the
// CPU sees to them itself (AVX2, Zen 4, nhwc: 1×1 1024->256@14 1.25 -> 1.16 ms, 960->160@7 0.186 ->
// 0.174). They are spread evenly: as the first ones, in a loop of their own, each cost a cycle
// (512->128@28 1.162 -> 1.148 ms).
struct Pointwise {
  static constexpr AtOnce kAtOnce = AtOnce::any;
  template <int R, int V>
  [[gnu::always_inline]] static void add(Vec (&acc)[R][V], const DirectTile& t) {
    const float* x = t.x;
    const float* w = t.w;
    const float* ask = t.ask;
    const float* ahead = x + t.ahead;
    const std::ptrdiff_t ahead_step = t.channel_stride + t.ahead_step;
    if (!kCountsAsks || t.ask_every == 1) {
      for (std::ptrdiff_t c = t.channels; c > 0; --c) {
        __builtin_prefetch(ahead);
        ahead += ahead_step;
        tap(acc, x, w, ask, t.pixel_stride, [](int) { return true; });
        x += t.channel_stride;
        w += V * kLanes;
        ask += t.ask_step;
      }
      return;
    }
    std::ptrdiff_t taps = 0;
    for (std::ptrdiff_t left = t.channels; left > 0; left -= taps) {
      taps = left < t.ask_every ? left : t.ask_every;
      __builtin_prefetch(ahead);
      ahead += ahead_step;
      for (std::ptrdiff_t c = taps; c > 0; --c) {
        multiply_add(acc, x, w, t.pixel_stride, [](int) { return true; });
        x += t.channel_stride;
        w += V * kLanes;
      }
    }
  }
};

// Bias and clamp, whole vectors of neighbours, no residual: nhwc, mostly.
[[gnu::always_inline]] inline bool is_simple(const Output& out, bool is_whole) {
  return is_whole && out.lane_stride == 1 && out.add == nullptr && is_clamp(out.epilogue);
}

// Stores sums with their bias, the residual if there is one, and within bounds.
template <int V, bool kBounded>
[[gnu::always_inline]] inline void finish_rows_of(const float* sums, int rows, const Output& out,
                                                  const float* add, float* c,
                                                  std::ptrdiff_t row_stride) {
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  Vec bias[V];
  GEMMCONV_UNROLL
  for (int v = 0; v < V; ++v) bias[v] = load(out.bias + v * kLanes);
  for (int r = 0; r < rows; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      Vec y = load(sums + v * kLanes) + bias[v];
      if (add != nullptr) y += load(add + v * kLanes);
      store(c + v * kLanes, kBounded ? clamp(y, min, max) : y);
    }
    sums += V * kLanes;
    c += row_stride;
    if (add != nullptr) add += row_stride;
  }
}

// Anything else through memory, by one function for any number of pixels and all kinds of rows.
// With one for each number of pixels the addon was 74 KB larger and short sums to 3 % slower (1×1
// 16->64@56 nchw, Zen 4).
template <int V>
[[gnu::noinline]] void finish_sums(float* sums, int rows, const DirectTile& t) {
  constexpr int kColumns = V * kLanes;
  const Output& out = *t.output;
  const bool whole = out.lane_stride == 1 && t.valid_lanes == kColumns;
  if (is_clamp(out.epilogue) && whole) {
    finish_rows_of<V, true>(sums, rows, out, out.add, out.c, out.row_stride);
    return;
  }
  const bool in_registers = is_clamp(out.epilogue) && out.add == nullptr;
  if (in_registers && !is_unbounded(out.epilogue)) {
    finish_rows_of<V, true>(sums, rows, out, nullptr, sums, kColumns);
  } else {
    finish_rows_of<V, false>(sums, rows, out, nullptr, sums, kColumns);
  }
  if (in_registers) {
    store_from_memory(sums, rows, kColumns, t.valid_lanes, out);
  } else {
    finish_in_memory(sums, rows, kColumns, t.valid_lanes, out);
  }
}

// One function for each kind of row: with all of them in one, GCC 12 keeps some sums on the stack.
template <int R, int V, typename Taps>
void tile(const DirectTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      acc[r][v] = t.first ? Vec{} : load(t.partial + (r * V + v) * kLanes);
    }
  }
  Taps::add(acc, t);
  if (Taps::kAtOnce != AtOnce::none && t.last &&
      is_simple(*t.output, t.valid_lanes == V * kLanes)) {
    if (Taps::kAtOnce == AtOnce::any && !kClampsAll && is_unbounded(t.output->epilogue)) {
      finish_simple<true, false>(acc, *t.output);
    } else {
      finish_simple<true, true>(acc, *t.output);
    }
    return;
  }
  alignas(64) float last[R * V * kLanes];
  float* const sums = t.last ? last : t.partial;
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) store(sums + (r * V + v) * kLanes, acc[r][v]);
  }
  if (t.last) finish_sums<V>(sums, R, t);
}

template <int R, int V>
constexpr void fill(DirectKernel& kernel) {
  const auto entry = [&](TapRow row) -> auto& {
    return kernel.tile[static_cast<int>(row)][R - 1][V - 1];
  };
  entry(TapRow::one) = tile<R, V, Pointwise>;
  entry(TapRow::any) = tile<R, V, Rows<AnyRow>>;
  entry(TapRow::cut) = tile<R, V, Rows<CutRow>>;
  // Of wide tiles GCC 12 would read the weights of the second and third tap again for each pixel
  // (3×3 24@28: 0.088 instead of 0.080 ms, Zen 4).
  if constexpr (kHasSpareRegister && V <= kVectors) {
    entry(TapRow::three) = tile<R, V, Rows<ThreeTaps<Cut::nowhere>>>;
  } else {
    entry(TapRow::three) = tile<R, V, Rows<AnyRow>>;
  }
  if constexpr (kHasSpareRegister) {
    entry(TapRow::cut_three) = tile<R, V, Rows<ThreeTaps<Cut::ends>>>;
  } else {
    entry(TapRow::cut_three) = tile<R, V, Rows<CutRow>>;
  }
  if constexpr (kHasWide && R > kMr / 2 && V == kVectors && kHasSpareRegister) {
    entry(TapRow::cut_sides) = tile<R, V, Rows<ThreeTaps<Cut::sides>>>;
  } else {
    entry(TapRow::cut_sides) = tile<R, V, Rows<CutRow>>;
  }
  if constexpr (kHasWide && R > kMostCut && V >= kVectors) {
    entry(TapRow::cut_ends) = tile<R, V, Rows<CutEnds>>;
  }
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, vectors_of(R - 1)>(kernel);
  }
}

constexpr DirectKernel make() {
  DirectKernel kernel{kLanes,     {kMr, kVectors}, {kWideMr, kWideVectors},
                      kTapsAhead, kCountsAsks,     {}};
  fill<kMr, vectors_of(kMr)>(kernel);
  return kernel;
}

}  // namespace

extern const DirectKernel direct_kernel;
constinit const DirectKernel direct_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
