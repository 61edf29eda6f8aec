// SPDX-License-Identifier: MIT
// The depthwise microkernels of whole planes with pixels on the lanes, for 3×3, 5×5 and 2×2
// windows, one source, compiled once per ISA: plane after plane in one call, so that the processor
// begins with one while it finishes another. Vectors side by side are walked downwards. Each row of
// the image is met by all outputs whose window holds it, of which the uppermost is then finished:
// so weights stay in registers, and nothing is loaded twice but where tiles meet. Each output still
// meets its taps in order.
#include "depthwise_taps.h"
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {

extern const ChannelVectorsKernel channel_vectors_kernel;

namespace {

// Side by side with steps of two, where what a vector is made of reaches into the next: half as
// many loads across cache lines (Zen 4, 3×3, 56 pixels a side: 870 cycles a plane, alone 1070).
constexpr int kVectors = GEMMCONV_REGISTERS >= 16 ? 2 : 1;

// K×K windows that move on by Step: what is taken along downwards. V vectors are side by side, or
// one has halves of two planes (P = 2). Where registers are few the compiler keeps weights in
// memory.
template <int K, int Step, int V, int P>
struct Column {
  using OfLine = Line<K, Step, V, P>;
  static constexpr int kParts = OfLine::kParts;
  static constexpr int kSums = (K + Step - 1) / Step;

  Vec w[K * K];
  IntVec mask[kParts];
  Vec sums[V][kSums];  // of the outputs whose windows hold the row at hand, the lowest first
  std::ptrdiff_t other;

  // Each plane's on its lanes.
  [[gnu::always_inline]] static Vec of_planes(float one, float other_one) {
    if constexpr (P == 1) return broadcast(one);
    if constexpr (Step == 2) return broadcast_quads(one, other_one, typename UpTo<kLanes>::Type{});
    return broadcast_halves(one, other_one);
  }

  [[gnu::always_inline]] void load_weights(const float* weights, const float* others) {
#pragma GCC unroll 32
    for (int tap = 0; tap < K * K; ++tap) {
      w[tap] = of_planes(weights[tap], others[tap]);
    }
  }

  [[gnu::always_inline]] void load_masks(const int* inside) {
    Vec there[kParts];
    OfLine::load_parts(there, reinterpret_cast<const float*>(inside), 0);
    GEMMCONV_UNROLL
    for (int i = 0; i < kParts; ++i) {
      if (OfLine::is_masked(i)) mask[i] = bits_of(there[i]);
    }
  }

  // AVX-512 masks what a shuffle makes for nothing, but a load takes longer.
  [[gnu::always_inline]] static Vec inside(Vec part, IntVec mask) {
    if constexpr (Step == 2 && kLanes >= 16) return mask != 0 ? part : Vec{};
    return masked(part, mask);
  }

  // Before the first row.
  [[gnu::always_inline]] void begin() {
    GEMMCONV_UNROLL
    for (int q = 0; q < kSums; ++q) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) sums[v][q] = Vec{};
    }
  }

  // Row kFirst of the window of the lowest, kFirst + Step of that above it, and so on.
  template <int kFirst>
  [[gnu::always_inline]] void meet(const float* x) {
    Vec parts[kParts], xv[K][V];
    OfLine::load_parts(parts, x, other);
    GEMMCONV_UNROLL
    for (int i = 0; i < kParts; ++i) {
      if (OfLine::is_masked(i)) parts[i] = inside(parts[i], mask[i]);
    }
    keep_load();
    OfLine::taps(xv, parts);
    GEMMCONV_UNROLL
    for (int kw = 0; kw < K; ++kw) {
      GEMMCONV_UNROLL
      for (int q = 0; q < kSums; ++q) {
        const int kh = kFirst + q * Step;
        if (kh >= K) continue;
        GEMMCONV_UNROLL
        for (int v = 0; v < V; ++v) sums[v][q] += xv[kw][v] * w[kh * K + kw];
      }
    }
  }

  // The uppermost is finished, and another begins.
  [[gnu::always_inline]] void next(Vec (&finished)[V]) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      finished[v] = sums[v][kSums - 1];
      move_up(sums[v], typename UpTo<kSums - 1>::Type{});
      sums[v][0] = Vec{};
    }
  }
};

// --- planes ---

template <int K, int Step, int V, int P>
struct Descent {
  static constexpr std::ptrdiff_t kBegin = Column<K, Step, V, P>::kSums - 1;

  Column<K, Step, V, P> column;
  Vec bias, min, max;
  bool clamps, asks;
  std::ptrdiff_t x_stride, c_stride, other_output;

  // An output is stored whole, whatever lies beyond the row. No loop of its own for those that are
  // clamped: a branch that is foreseen takes no time.
  [[gnu::always_inline]] void finish(float* c) {
    Vec y[V];
    column.next(y);
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      y[v] += bias;
      if constexpr (Step == 2) y[v] = in_order(y[v], typename UpTo<kLanes>::Type{});
    }
    int clamps_here = clamps;
    asm("" : "+r"(clamps_here));
    if (clamps_here != 0) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) y[v] = clamp(y[v], min, max);
    }
    if constexpr (P == 2) {
      constexpr typename UpTo<kLanes / 2>::Type kHalf;
      store_half<0>(c, y[0], kHalf);
      store_half<kLanes / 2>(c + other_output, y[0], kHalf);
    } else {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) store(c + v * kLanes, y[v]);
    }
  }

  // For so many floats, that they be read or written.
  template <int kFloats, int kWritten>
  [[gnu::always_inline]] static void ask(const float* there) {
    GEMMCONV_UNROLL
    for (int i = 0; i < kFloats; i += kLineFloats) __builtin_prefetch(there + i, kWritten, 2);
  }

  // Steps of which all rows of the image exist.
  [[gnu::always_inline]] void plain(std::ptrdiff_t steps, const float* x, float* c,
                                    std::ptrdiff_t ahead, std::ptrdiff_t output_ahead) {
    for (; steps > 0; --steps) {
      if (asks) {
        ask<Step * V * kLanes, 0>(x + ahead);
        if (Step == 2) ask<Step * V * kLanes, 0>(x + x_stride + ahead);
        ask<V * kLanes, 1>(c + output_ahead);
      }
      column.template meet<0>(x);
      if constexpr (Step == 2) column.template meet<1>(x + x_stride);
      x += Step * x_stride;
      finish(c);
      c += c_stride;
    }
  }

  // The outputs of a row from c on, and those below. An output is finished kBegin steps after it
  // has begun.
  [[gnu::always_inline]] void down(const float* x, float* c, const DepthwisePlanesRun& t) {
    const std::ptrdiff_t begin = t.row_begin, end = t.row_end;
    const std::ptrdiff_t steps = kBegin + t.rows;
    std::ptrdiff_t plain_begin = (begin + Step - 1) / Step;
    if (plain_begin < kBegin) plain_begin = kBegin;
    const std::ptrdiff_t plain_end = end / Step;
    for (std::ptrdiff_t step = 0; step < steps; ++step) {
      if (step == plain_begin && step < plain_end) {
        const std::ptrdiff_t count = plain_end - step;
        plain(count, x, c, t.ahead, t.output_ahead);
        x += count * Step * x_stride;
        c += count * c_stride;
        step = plain_end;
        if (step == steps) return;
      }
      const std::ptrdiff_t i = step * Step;
      if (i >= begin && i < end) column.template meet<0>(x);
      if constexpr (Step == 2) {
        if (i + 1 >= begin && i + 1 < end) column.template meet<1>(x + x_stride);
      }
      x += Step * x_stride;
      if (step < kBegin) {
        Vec none[V];
        column.next(none);
        continue;
      }
      finish(c);
      c += c_stride;
    }
  }
};

template <int K, int Step, int V, int P>
void planes(const DepthwisePlanesRun& t) {
  Descent<K, Step, V, P> d;
  d.min = broadcast(t.min);
  d.max = broadcast(t.max);
  d.clamps = t.min != -__builtin_inff() || t.max != __builtin_inff();
  // The hardware asks for what is read from end to end (3×3, steps of two, 144@56 in L3: 0.032 ms
  // if it is asked for twice, 0.029 else).
  d.asks = Step == 1 || t.last > 0;
  d.x_stride = t.row_stride;
  d.c_stride = t.output_row_stride;
  d.other_output = t.other_output;
  d.column.other = t.other;
  const float* x = t.x;
  float* c = t.c;
  const float* w = t.w;
  d.column.load_masks(t.inside);
  for (std::ptrdiff_t p = 0; p < t.planes; ++p) {
    d.column.load_weights(w, w + t.other_filter * K * K);
    d.bias = d.column.of_planes(t.bias[p], t.bias[p + t.other_filter]);
    // The last vectors end where the row does, and overlap those before them.
    for (std::ptrdiff_t at = 0;; at = at + V * kLanes < t.last ? at + V * kLanes : t.last) {
      if (t.last > 0) d.column.load_masks(t.inside + at * Step);
      d.column.begin();
      d.down(x + at * Step, c + at, t);
      if (at == t.last) break;
    }
    w += K * K;
    x += t.plane_stride;
    c += t.output_plane_stride;
  }
}

// What a clamp does not finish.
void finish_plane(float* sums, std::ptrdiff_t count, const Output& output) {
  channel_vectors_kernel.finish(sums, 1, static_cast<int>(count), static_cast<int>(count), output);
}

constexpr DepthwisePlanesKernel make() {
  DepthwisePlanesKernel kernel{
      kLanes, kVectors, !kMasksEdges, {planes<3, 1, 1, 1>, planes<5, 1, 1, 1>},
      {},     {},       nullptr,      finish_plane};
  kernel.by_two[0][0] = planes<3, 2, 1, 1>;
  kernel.by_two[1][0] = planes<5, 2, 1, 1>;
  kernel.by_two[2][0] = planes<2, 2, 1, 1>;
  if constexpr (kVectors > 1) {
    kernel.by_two[0][1] = planes<3, 2, 2, 1>;
    kernel.by_two[1][1] = planes<5, 2, 2, 1>;
    kernel.by_two[2][1] = planes<2, 2, 2, 1>;
  }
  if constexpr (kLanes >= 16) {
    kernel.pair[0] = planes<3, 1, 1, 2>;
    kernel.pair[1] = planes<5, 1, 1, 2>;
    kernel.pair_by_two = planes<3, 2, 1, 2>;
  }
  return kernel;
}

}  // namespace

extern const DepthwisePlanesKernel depthwise_planes_kernel;
constinit const DepthwisePlanesKernel depthwise_planes_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
