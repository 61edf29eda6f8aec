// SPDX-License-Identifier: MIT
// The direct microkernel with pixels on the lanes, one source, compiled once per ISA: R output
// channels by V vectors of neighbouring output pixels, the whole (c, kh, kw) chain in registers.
// Weights are broadcast; where a tap's pixels lie is looked up, so that it does not matter here
// whether they are read in place or from a padded copy.
#include "epilogue.h"
#include "pixels.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Nine rows of three vectors, or six of two: the most a tap's loads are shared while the sums fit.
constexpr int kMr = GEMMCONV_REGISTERS >= 32 ? 9 : 6;

// Fewer rows have more vectors: R·V sums, V vectors of pixels and a weight fit the registers.
constexpr int vectors_of(int rows) {
  const int vectors = (GEMMCONV_REGISTERS - 1) / (rows + 1);
  return vectors < kMaxPixelVectors ? vectors : kMaxPixelVectors;
}

// Stored by vectors, tiles are smaller where a vector is stored in two halves: beside the next
// tile's multiply-adds a core holds no more than these. (Zen 4, cycles that a tile takes beside its
// multiply-adds: with 16 to 21 sums 4 to 15, with 24 45, with 27 60. 1×1 16->96@112 382 -> 354 us,
// 64->256@56 907 -> 885; sums of 256 steps do not care.)
constexpr int kSums = kLanes >= 16 ? 21 : kMr * kMaxPixelVectors;
constexpr int kMrByVectors = kLanes >= 16 ? 7 : kMr;

// Calls visit(first lane, count, outputs before it) for each run of the tile's lanes.
template <typename Visit>
[[gnu::always_inline]] inline void for_each_run(const DirectPixelsTile& t, Visit visit) {
  int lane = 0;
  int count = t.first_run;
  for (int done = 0; done < t.outputs; done += count, lane += count + t.gap, count = t.run) {
    if (count > t.outputs - done) count = t.outputs - done;
    visit(lane, count, done);
  }
}

// Copies a run of finished outputs. Its last vector may reach beyond it, as far as the outputs of
// the next runs, `room` in all, will overwrite it.
[[gnu::always_inline]] inline void store_run(float* c, const float* values, int count, int room) {
  int i = 0;
  for (; i < count && i + kLanes <= room; i += kLanes) store(c + i, load(values + i));
  if (i >= count) return;
  if (count >= kLanes) {
    store(c + count - kLanes, load(values + count - kLanes));
    return;
  }
  for (; i < count; ++i) c[i] = values[i];
}

// How far ahead of the outputs at hand memory is asked for where they are pixels (Zen 4, 1×1 at
// 720p: 3->4 2.2 -> 1.9 ms, 4->4 2.9 -> 2.3; 3×3 and 5×5 do not care).
constexpr int kPixelsAhead = 1024;

// Stores a vector of outputs of each of all C filters there are.
template <int C>
[[gnu::always_inline]] inline void store_merged(float* c, Vec (&v)[C]) {
  merge(v);
  GEMMCONV_UNROLL
  for (int r = 0; r < C; ++r) {
    float* to = c + r * kLanes;
    __builtin_prefetch(to + kPixelsAhead, 1, 2);
    store(to, v[r]);
  }
}

// So many of each, at least a vector: the last vectors overlap those before.
template <int C>
void store_pixels(float* c, const float* values, int columns, int count) {
  for (int i = 0; i < count; i += kLanes) {
    const int at = i + kLanes <= count ? i : count - kLanes;
    Vec v[C];
    GEMMCONV_UNROLL
    for (int r = 0; r < C; ++r) v[r] = load(values + r * columns + at);
    store_merged(c + at * C, v);
  }
}

// Stores a run whose pixels are not neighbours.
void store_apart(const float* values, int rows, int columns, int count, const Output& out) {
  const bool holds_all = out.row_stride == 1 && out.lane_stride == rows && count >= kLanes;
  if (holds_all && rows == 2) {
    store_pixels<2>(out.c, values, columns, count);
  } else if (holds_all && rows == 3) {
    store_pixels<3>(out.c, values, columns, count);
  } else if (holds_all && rows == 4) {
    store_pixels<4>(out.c, values, columns, count);
  } else {
    store_from_memory(values, rows, columns, count, out);
  }
}

// values: sums with bias, rows × columns; destroyed.
[[gnu::noinline]] void finish_runs(const DirectPixelsTile& t, float* values, int rows, int columns,
                                   bool is_finished) {
  const Output& out = *t.output;
  if (!is_finished) {
    for (int r = 0; r < rows && out.add != nullptr; ++r) {
      const float* add = out.add + r * out.row_stride;
      for_each_run(t, [&](int lane, int count, int done) {
        for (int i = 0; i < count; ++i) {
          values[r * columns + lane + i] += add[(done + i) * out.lane_stride];
        }
      });
    }
    for (int i = 0; i < rows * columns; i += kLanes) {
      store(values + i, activate(load(values + i), out.epilogue));
    }
  }
  if (out.lane_stride == 1) {
    for_each_run(t, [&](int lane, int count, int done) {
      for (int r = 0; r < rows; ++r) {
        store_run(out.c + r * out.row_stride + done, values + r * columns + lane, count,
                  t.outputs - done);
      }
    });
    return;
  }
  for_each_run(t, [&](int lane, int count, int done) {
    Output run = out;
    run.c += done * out.lane_stride;
    store_apart(values + lane, rows, columns, count, run);
  });
}

template <int R, int V>
[[gnu::always_inline]] inline void finish_tile(Vec (&acc)[R][V], const DirectPixelsTile& t) {
  const Output& out = *t.output;
  if (t.first_run >= V * kLanes && out.lane_stride == 1 && is_clamp(out.epilogue)) {
    if (out.add == nullptr && is_unbounded(out.epilogue)) {
      finish_simple<false, false>(acc, out);
    } else {
      finish_rows(acc, out);
    }
    return;
  }
  // A vector more, which the last run's may reach into.
  alignas(64) float values[(R * V + 1) * kLanes];
  const bool clamps = is_clamp(out.epilogue) && out.add == nullptr;
  finish_into(values, acc, clamps && !is_unbounded(out.epilogue), out);
  finish_runs(t, values, R, V * kLanes, clamps);
}

// Beside the few multiply-adds of small tiles looking whether there are masks would cost 3 %, and
// 40 KB of another loop are too much for the large ones (3×3 on AVX2, Zen 4).
constexpr bool kMasksApart = GEMMCONV_REGISTERS < 32;

template <bool kMasks, int R, int V>
[[gnu::always_inline]] inline void add_steps(Vec (&acc)[R][V], const DirectPixelsTile& t) {
  const float* w = t.w;
  const int* const masks = kMasks ? t.masks : nullptr;
  // Asked for little by little: a line that comes from DRAM holds one of the core's two dozen miss
  // buffers for as long as twenty steps take, and while all are held, pixels that L2 has wait, too.
  std::ptrdiff_t ask = t.ask_first;
  // Of a row of outputs the lines behind the one that the tile before has reached into.
  constexpr int kFirst = (V * kLanes < kLineFloats ? V * kLanes : kLineFloats) - 1;
  const float* c = t.output->c + t.outputs_ahead;
  int rows_to_ask = t.asks_for_outputs ? R : 0;
  for (std::ptrdiff_t k = 0; k < t.k; ++k) {
    const float* x = t.x + t.taps[k];
    if (k == ask) [[unlikely]] {
      ask += t.ask_every;
      __builtin_prefetch(t.x + t.asks[k] + t.ahead);
      if (rows_to_ask > 0) {
        GEMMCONV_UNROLL
        for (int i = kFirst; i < V * kLanes; i += kLineFloats) __builtin_prefetch(c + i, 1);
        c += t.output->row_stride;
        --rows_to_ask;
      }
    }
    Vec xv[V];
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) xv[v] = load(x + v * kLanes);
    if (masks != nullptr && t.mask_steps[k] >= 0) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        xv[v] = masked(xv[v], load_mask(masks + t.mask_steps[k] + v * kLanes));
      }
    }
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec wv = broadcast(w[r]);
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] += wv * xv[v];
    }
    w += R;
  }
}

template <int R, int V>
void tile(const DirectPixelsTile& t) {
  Vec acc[R][V];
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  }
  if (kMasksApart && t.masks == nullptr) [[likely]] {
    add_steps<false>(acc, t);
  } else {
    add_steps<true>(acc, t);
  }
  finish_tile(acc, t);
}

// What is done between two tiles of short sums hides behind their multiply-adds if it is little
// (3×3 3->64@224, AVX2, Zen 4: 162 cycles a tile, 211 with a call for each).
constexpr bool kRepeats = GEMMCONV_REGISTERS == 16 && kLanes == 8;

template <bool kMerges, int R, int V>
void repeat(const DirectPixelsTile& tile) {
  const DirectPixelsTile t = tile;  // a store may alias it
  const Output out = *tile.output;
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  const std::ptrdiff_t* const end = t.taps + t.k;
  for (int i = 0; i < t.tiles; ++i) {
    const float* const pixels = t.x + i * (V * kLanes);
    const float* w = t.w;
    Vec acc[R][V] = {};
    for (const std::ptrdiff_t* tap = t.taps; tap != end; ++tap) {
      const float* const x = pixels + *tap;
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
    const auto finished = [&](int r, int v) __attribute__((always_inline)) {
      return clamp(acc[r][v] + broadcast(out.bias[r]), min, max);
    };
    float* c = out.c + i * (V * kLanes) * (kMerges ? R : 1);
    if constexpr (kMerges) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) {
        Vec pixels_of[R];
        GEMMCONV_UNROLL
        for (int r = 0; r < R; ++r) pixels_of[r] = finished(r, v);
        store_merged(c + v * (R * kLanes), pixels_of);
      }
    } else {
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) {
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) store(c + v * kLanes, finished(r, v));
        c += out.row_stride;
      }
    }
  }
}

template <int R, int V>
constexpr void fill(DirectPixelsKernel& kernel) {
  kernel.tile[R - 1][V - 1] = tile<R, V>;
  if constexpr (kRepeats && V == vectors_of(R)) {
    kernel.repeat[0][R - 1] = repeat<false, R, V>;
    if constexpr (R >= 2 && R <= 4) kernel.repeat[1][R - 1] = repeat<true, R, V>;
  }
  if constexpr (V > 1) {
    fill<R, V - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, vectors_of(R - 1)>(kernel);
  }
}

constexpr PixelTileShapes shapes(int mr, int sums) {
  PixelTileShapes result{mr, {}};
  for (int rows = 1; rows <= mr; ++rows) {
    const int vectors = vectors_of(rows);
    result.vectors[rows - 1] = vectors * rows <= sums ? vectors : sums / rows;
  }
  return result;
}

constexpr DirectPixelsKernel make() {
  DirectPixelsKernel kernel{
      kLanes, shapes(kMrByVectors, kSums), shapes(kMr, kMr * kMaxPixelVectors), {}, {}};
  fill<kMr, vectors_of(kMr)>(kernel);
  return kernel;
}

}  // namespace

extern const DirectPixelsKernel direct_pixels_kernel;
constinit const DirectPixelsKernel direct_pixels_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
