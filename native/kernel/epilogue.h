// SPDX-License-Identifier: MIT
// What happens to a tile of sums before it is stored: bias, residual, activation. The file is
// compiled with contracted multiply-adds, so each expression is written such that only one way to
// contract it exists: then every FMA instruction set gives the same bits.
#pragma once

#include "kernel.h"
#include "quad.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// NaN compares false and passes through.
[[gnu::always_inline]] inline Vec clamp(Vec v, Vec min, Vec max) {
  v = v < min ? min : v;
  return v > max ? max : v;
}

// Whether a clamp lets everything pass. Leaving it out takes 1 to 4 % off a short sum (1×1 over 16
// to 64 channels, 3×3 over three): on Zen 4 minimum and maximum take turns with multiply-adds.
[[gnu::always_inline]] inline bool is_unbounded(const Epilogue& e) {
  return e.min == -__builtin_inff() && e.max == __builtin_inff();
}

[[gnu::always_inline]] inline Vec magnitude(Vec v) {
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(v) & 0x7fffffff);
}

[[gnu::always_inline]] inline Vec copy_sign(Vec v, Vec sign) {
  return reinterpret_cast<Vec>((reinterpret_cast<IntVec>(v) & 0x7fffffff) |
                               (reinterpret_cast<IntVec>(sign) & static_cast<int>(0x80000000)));
}

// 2^n for n in [-126, 127].
[[gnu::always_inline]] inline Vec exp2i(IntVec n) { return reinterpret_cast<Vec>((n + 127) << 23); }

// exp(v) for v ≤ 0; below -104 the result is 0. Cody-Waite reduction v = n·ln2 + r, |r| ≤ ln2/2,
// ln2 in two parts of which the first times n is exact; then the Taylor polynomial of degree 7
// (truncation 5e-9 relative); then 2^n in two factors, so that a subnormal result is rounded once.
[[gnu::always_inline]] inline Vec exp_nonpositive(Vec v) {
  const Vec x = v < -104.0f ? broadcast(-104.0f) : v;
  const Vec shifted =
      x * 1.44269504f + 12582912.0f;  // 1.5·2^23: the sum's low bits are round(x/ln2)
  const Vec n = shifted - 12582912.0f;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = r * 1.98412698e-4f + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const IntVec exponent = reinterpret_cast<IntVec>(shifted) - 0x4b400000;
  const IntVec half = exponent >> 1;
  const Vec scaled = p * exp2i(half);
  return scaled * exp2i(exponent - half);
}

// 1 / (1 + exp(-v)), through exp(-|v|) so that neither side overflows or cancels.
[[gnu::always_inline]] inline Vec sigmoid(Vec v) {
  const Vec e = exp_nonpositive(-magnitude(v));
  const Vec numerator = v < 0.0f ? e : broadcast(1.0f);
  return numerator / (e + 1.0f);
}

// tanh(v) = (1 - e) / (1 + e) with e = exp(-2|v|); near zero, where that cancels, the odd
// polynomial of Cephes tanhf (Moshier), good for |v| < 0.625.
[[gnu::always_inline]] inline Vec tanh(Vec v) {
  const Vec a = magnitude(v);
  const Vec e = exp_nonpositive(a * -2.0f);
  const Vec large = (1.0f - e) / (e + 1.0f);
  const Vec z = v * v;
  Vec p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  p = p * z;
  const Vec small = p * v + v;
  return a < 0.625f ? small : copy_sign(large, v);
}

// What the clamps cannot express. `v` is a finished sum, never a product: nothing to contract with.
[[gnu::always_inline]] inline Vec activate(Vec v, const Epilogue& e) {
  switch (e.activation) {
    case Activation::leaky_relu:
      return v < 0.0f ? v * e.min : v;
    case Activation::hard_swish:
      return v * clamp(v + 3.0f, Vec{}, broadcast(6.0f)) / 6.0f;
    case Activation::sigmoid:
      return sigmoid(v);
    case Activation::tanh:
      return tanh(v);
    case Activation::silu:
      // -inf · 0 would be NaN; the limit is -0.
      return v < -104.0f ? copy_sign(Vec{}, v) : v * sigmoid(v);
    default:
      return clamp(v, broadcast(e.min), broadcast(e.max));
  }
}

[[gnu::always_inline]] inline bool is_clamp(const Epilogue& e) {
  return e.activation <= Activation::clamp;
}

// Stores `columns` lanes of a tile transposed, kSide by kSide; the last block of rows overlaps the
// one before it, so that no row is left over.
template <int kSide>
void store_transposed(const float* values, int rows, int row_length, int columns,
                      const Output& out) {
  for (int l = 0; l < columns; l += kSide) {
    float* c = out.c + l * out.lane_stride;
    for (int done = 0; done < rows; done += kSide) {
      const int r = done + kSide <= rows ? done : rows - kSide;
      const float* block = values + r * row_length + l;
      if constexpr (kSide == 8) {
        transpose_octets(block, row_length, c + r, out.lane_stride);
      } else {
        transpose_quads(block, row_length, c + r, out.lane_stride);
      }
    }
  }
}

// Stores a tile whose neighbouring rows are neighbours in memory: eight by eight (a third of the
// time that four by four takes with 14 rows, Zen 4) or four by four, what is left over one by one.
void store_columns(const float* values, int rows, int columns, int valid, const Output& out) {
  int done = 0;
  if (kLanes >= 8 && rows >= 8) {
    done = valid / 8 * 8;
    store_transposed<8>(values, rows, columns, done, out);
  } else if (rows >= 4) {
    done = valid / 4 * 4;
    store_transposed<4>(values, rows, columns, done, out);
  }
  for (int l = done; l < valid; ++l) {
    float* c = out.c + l * out.lane_stride;
    for (int r = 0; r < rows; ++r) c[r] = values[r * columns + l];
  }
}

// Copies neighbours [begin, end) by four, of which the last overlap those before, down to 0.
[[gnu::always_inline]] inline void store_quads(const float* values, int begin, int end, float* c) {
  if (end < 4) {
    for (int l = begin; l < end; ++l) c[l] = values[l];
    return;
  }
  for (int l = begin; l < end; l += 4) {
    const int at = l + 4 <= end ? l : end - 4;
    *reinterpret_cast<Quad*>(c + at) = *reinterpret_cast<const Quad*>(values + at);
  }
}

// Copies neighbours: whole vectors, then four at a time.
[[gnu::always_inline]] inline void store_neighbours(const float* values, int count, float* c) {
  int l = 0;
  for (; l + kLanes <= count; l += kLanes) store(c + l, load(values + l));
  store_quads(values, l, count, c);
}

// Stores a finished tile that is not made of whole vectors of neighbours.
[[gnu::noinline]] void store_from_memory(const float* values, int rows, int columns, int valid,
                                         const Output& out) {
  if (out.row_stride == 1) {
    store_columns(values, rows, columns, valid, out);
    return;
  }
  for (int r = 0; r < rows; ++r) {
    float* c = out.c + r * out.row_stride;
    if (out.lane_stride == 1) {
      store_neighbours(values + r * columns, valid, c);
      continue;
    }
    for (int l = 0; l < valid; ++l) c[l * out.lane_stride] = values[r * columns + l];
  }
}

// Residual and any activation, through memory: their cost is small beside a tile's K loop, and the
// code is not repeated for every tile shape. values: sums with bias; destroyed.
[[gnu::noinline, maybe_unused]] void finish_in_memory(float* values, int rows, int columns,
                                                      int valid, const Output& out) {
  for (int r = 0; r < rows; ++r) {
    float* row = values + r * columns;
    if (out.add != nullptr) {
      const float* add = out.add + r * out.row_stride;
      for (int l = 0; l < valid; ++l) row[l] += add[l * out.lane_stride];
    }
    for (int l = 0; l < columns; l += kLanes) store(row + l, activate(load(row + l), out.epilogue));
  }
  store_from_memory(values, rows, columns, valid, out);
}

// Row by row, so that the stores of the first rows drain while the last are finished; 4 % of a
// short sum (3×3 over three channels, Zen 4).
template <int R, int V>
[[gnu::always_inline]] inline void finish_rows(const Vec (&acc)[R][V], const Output& out) {
  // Copies: a store may alias `out`, which would be read again for every vector.
  float* c = out.c;
  const float* add = out.add;
  const float* const bias = out.bias;
  const std::ptrdiff_t row_stride = out.row_stride;
  const bool bias_on_lanes = out.bias_on_lanes;
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      Vec y = acc[r][v] + (bias_on_lanes ? load(bias + v * kLanes) : broadcast(bias[r]));
      if (add != nullptr) y += load(add + v * kLanes);
      store(c + v * kLanes, clamp(y, min, max));
    }
    c += row_stride;
    if (add != nullptr) add += row_stride;
  }
}

// As finish_rows, of an output without a residual, whose bias is known to lie on the lanes, or not.
template <bool kBiasOnLanes, bool kClamps, int R, int V>
[[gnu::always_inline]] inline void finish_simple(const Vec (&acc)[R][V], const Output& out) {
  float* c = out.c;
  const float* const bias = out.bias;
  const std::ptrdiff_t row_stride = out.row_stride;
  const Vec min = broadcast(out.epilogue.min);
  const Vec max = broadcast(out.epilogue.max);
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      const Vec y = acc[r][v] + (kBiasOnLanes ? load(bias + v * kLanes) : broadcast(bias[r]));
      store(c + v * kLanes, kClamps ? clamp(y, min, max) : y);
    }
    c += row_stride;
  }
}

// Bias, and a clamp if asked for, on the way to memory.
template <int R, int V>
[[gnu::always_inline]] inline void finish_into(float* values, Vec (&acc)[R][V], bool clamps,
                                               const Output& out) {
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) {
      acc[r][v] += out.bias_on_lanes ? load(out.bias + v * kLanes) : broadcast(out.bias[r]);
    }
  }
  if (clamps) {
    const Vec min = broadcast(out.epilogue.min);
    const Vec max = broadcast(out.epilogue.max);
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) {
      GEMMCONV_UNROLL
      for (int v = 0; v < V; ++v) acc[r][v] = clamp(acc[r][v], min, max);
    }
  }
  GEMMCONV_UNROLL
  for (int r = 0; r < R; ++r) {
    GEMMCONV_UNROLL
    for (int v = 0; v < V; ++v) store(values + (r * V + v) * kLanes, acc[r][v]);
  }
}

// Adds the bias and finishes the tile, in registers where it can: a clamp always where the outputs
// of a row are whole vectors of neighbours, elsewhere one without a residual.
template <int R, int V>
[[gnu::always_inline]] inline void finish(Vec (&acc)[R][V], int valid, const Output& out) {
  const bool whole = out.lane_stride == 1 && valid == V * kLanes;
  if (whole && is_clamp(out.epilogue)) {
    finish_rows(acc, out);
    return;
  }
  alignas(64) float values[R * V * kLanes];
  const bool in_registers = is_clamp(out.epilogue) && out.add == nullptr;
  finish_into(values, acc, in_registers && !is_unbounded(out.epilogue), out);
  if (in_registers) {
    store_from_memory(values, R, V * kLanes, valid, out);
  } else {
    finish_in_memory(values, R, V * kLanes, valid, out);
  }
}

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
