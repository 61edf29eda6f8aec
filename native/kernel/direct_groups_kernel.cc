// SPDX-License-Identifier: MIT
// The direct microkernel of groups no wider than a vector, output channels on the lanes: one
// source, compiled once per ISA. A vector holds several groups, or one, each of whose lanes want
// the same channels of their group: one permutation of a pixel gives every lane its own, and all
// outputs whose windows hold the pixel share it.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Neighbouring outputs of a row. Beside their sums a row of three weights, a pixel and the lanes'
// sources fit the registers.
constexpr int kPixels = GEMMCONV_REGISTERS >= 32 ? 14 : 10;

// Lane l is x[sources[l]]. In the compiler's own terms this has another name for each compiler. Of
// four lanes a vector would hold too few groups to gain anything, and SSE2 cannot permute them.
#if GEMMCONV_LANES >= 8
constexpr bool kPermutes = true;
[[gnu::always_inline]] inline Vec permute(const float* x, IntVec sources) {
  Vec y;
  asm("vpermps %1, %2, %0"
      : "=v"(y)
      : "m"(*reinterpret_cast<const UnalignedVec*>(x)), "v"(sources));
  return y;
}
#else
constexpr bool kPermutes = false;
[[gnu::always_inline, maybe_unused]] inline Vec permute(const float* x, IntVec) { return load(x); }
#endif

// The rows that outputs below will see, on their way into the ring. A few pixels at a time, between
// rows of taps, they do not keep the multiply-adds waiting.
class NextRows {
 public:
  [[gnu::always_inline]] explicit NextRows(const DirectGroupsTile& t)
      : t_(t), from_(t.next), row_(t.next_row), rows_(t.next_rows), column_(t.column_begin) {}

  [[gnu::always_inline]] void copy(std::ptrdiff_t pixels) {
    for (; pixels > 0 && rows_ > 0; --pixels) {
      const float* x = from_ + column_ * t_.next_column_stride;
      store(row_ + column_ * kLanes, load(x));
      __builtin_prefetch(x + t_.ahead, 0, 2);
      __builtin_prefetch(x + t_.ahead + kLanes - 1, 0, 2);
      if (++column_ < t_.column_end) continue;
      column_ = t_.column_begin;
      from_ += t_.next_row_stride;
      row_ += t_.ring_row;
      if (row_ == t_.ring_end) row_ = t_.ring;
      --rows_;
    }
  }

 private:
  const DirectGroupsTile& t_;
  const float* from_;
  float* row_;
  std::ptrdiff_t rows_, column_;
};

// What a clamp alone cannot finish goes elsewhere: rare, and it would double the code.
template <int P>
[[gnu::always_inline]] inline void finish_pixels(const Vec (&acc)[P], const DirectGroupsTile& t) {
  if (t.sums != nullptr) {
    GEMMCONV_UNROLL
    for (int p = 0; p < P; ++p) store(t.sums + p * kLanes, acc[p]);
    return;
  }
  const Output& output = *t.output;
  const Vec bias = load(output.bias);
  const Vec min = broadcast(output.epilogue.min);
  const Vec max = broadcast(output.epilogue.max);
  const std::ptrdiff_t stride = output.row_stride;
  const int pixels = t.pixels;
  float* c = output.c;
  GEMMCONV_UNROLL
  for (int p = 0; p < P; ++p) {
    if (p == pixels) return;
    store(c, clamp(acc[p] + bias, min, max));
    c += stride;
  }
}

// A walk over the columns under the tile, in which each output meets its taps in order.
template <int kStep, int P>
[[gnu::always_inline]] inline void row_of_taps(Vec (&acc)[P], const float* x, const float* w,
                                               IntVec sources, unsigned columns) {
  Vec wv[3];
  GEMMCONV_UNROLL
  for (int kw = 0; kw < 3; ++kw) wv[kw] = load(w + kw * kLanes);
#pragma GCC unroll 32
  for (int j = 0; j < (P - 1) * kStep + 3; ++j) {
    // Left alone, GCC tests all of them beforehand, and keeps the answers on the stack.
    asm("" : "+r"(columns));
    if (__builtin_expect((columns & 1u << j) == 0, 0)) continue;
    const Vec xv = permute(x + j * kLanes, sources);
    GEMMCONV_UNROLL
    for (int p = 0; p < P; ++p) {
      const int kw = j - p * kStep;
      if (kw >= 0 && kw < 3) acc[p] += xv * wv[kw];
    }
  }
}

template <int P, int kStep>
void tile(const DirectGroupsTile& t) {
  static_assert((P - 1) * kStep + 3 < 32, "a bit for each column");
  Vec acc[P];
  GEMMCONV_UNROLL
  for (int p = 0; p < P; ++p) acc[p] = Vec{};
  const unsigned columns = ((1u << (t.column_end - t.column_begin)) - 1) << t.column_begin;
  IntVec sources = reinterpret_cast<IntVec>(load(reinterpret_cast<const float*>(t.sources)));
  NextRows next(t);
  const float* w = t.w;
  for (std::ptrdiff_t c = 0; c < t.channels; ++c) {
    const float* x = t.row;
    for (std::ptrdiff_t i = 0; i < t.kernel_h; ++i) {
      if (i >= t.row_begin && i < t.row_end) {
        row_of_taps<kStep>(acc, x, w, sources, columns);
        next.copy(t.next_pixels);
      }
      w += 3 * kLanes;
      x += t.ring_row;
      if (x == t.ring_end) x = t.ring;
    }
    sources += 1;
  }
  next.copy(t.next_rows * t.column_end);
  finish_pixels(acc, t);
}

constexpr DirectGroupsKernel make() {
  if constexpr (kPermutes) {
    return {kLanes, kPixels, {tile<kPixels, 1>, tile<kPixels, 2>}};
  } else {
    return {kLanes, 0, {}};
  }
}

}  // namespace

extern const DirectGroupsKernel direct_groups_kernel;
constinit const DirectGroupsKernel direct_groups_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
