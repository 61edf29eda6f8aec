// SPDX-License-Identifier: MIT
// Vectors of channels, one for each pixel: copied there from an image of either layout, and
// finished from there into an output of either layout. One source, compiled once per ISA.
// Winograd's and nchw's depthwise convolutions compute in between.
#include "epilogue.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// --- transposition of lanes × lanes floats -------------------------------------------------------

// Swaps the upper right with the lower left quarter of 2D × 2D blocks, of which a is a row in the
// upper half, and b the row D below.
template <int D, int... I>
[[gnu::always_inline]] inline void exchange(Vec& a, Vec& b, Indices<I...>) {
  const Vec upper = __builtin_shufflevector(a, b, ((I & D) ? kLanes + I - D : I)...);
  const Vec lower = __builtin_shufflevector(a, b, ((I & D) ? kLanes + I : I + D)...);
  a = upper;
  b = lower;
}

template <int D>
[[gnu::always_inline]] inline void transpose_blocks(Vec (&v)[kLanes]) {
  GEMMCONV_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    if ((i & D) == 0) exchange<D>(v[i], v[i + D], typename UpTo<kLanes>::Type{});
  }
  if constexpr (D > 1) transpose_blocks<D / 2>(v);
}

[[gnu::always_inline]] inline void transpose(Vec (&v)[kLanes]) { transpose_blocks<kLanes / 2>(v); }

// --- from the image and to the output ------------------------------------------------------------

void read_in_place(const ChannelVectorsRead& t) {
  const float* x = t.x;
  float* row = t.strip;
  for (std::ptrdiff_t p = 0; p < t.pixels; p += t.columns, row += t.strip_row_stride) {
    for (std::ptrdiff_t i = 0; i < t.columns; ++i, x += t.pixel_stride) {
      if (t.channels == kLanes) {
        store(row + i * kLanes, load(x));
      } else {
        for (std::ptrdiff_t c = 0; c < t.channels; ++c) row[i * kLanes + c] = x[c];
      }
    }
  }
}

// The same pixels of planes that are halves of pages of 4 KB apart lie in a set or two of L1, which
// hold fewer lines than a vector has channels: where two vectors reach into a line, it is fetched
// twice. So many pixels are then worth one vector more, for all but the first to start where lines
// do (Zen 4, 7×7 32@256 5.5 -> 4.6 ms, 32@64 0.18 -> 0.16).
constexpr std::ptrdiff_t kFloatsThatCollide = 512;
constexpr std::ptrdiff_t kFewestAligned = 4 * kLanes;

[[gnu::always_inline]] inline std::ptrdiff_t to_second(const float* first, std::ptrdiff_t stride,
                                                       std::ptrdiff_t pixels) {
  if (stride % kFloatsThatCollide != 0 || pixels < kFewestAligned) return kLanes;
  const std::size_t floats = reinterpret_cast<std::size_t>(first) / sizeof(float);
  return kLanes - static_cast<std::ptrdiff_t>(floats % kLanes);
}

// Pixels [p, p + kLanes) of the run, channels on the lanes. Lanes past the last channel hold that
// channel again, which nobody will read.
[[gnu::always_inline]] inline void load_transposed(const ChannelVectorsRead& t, std::ptrdiff_t p,
                                                   Vec (&v)[kLanes]) {
  const float* x = t.x + p;
  if (t.channels == kLanes) {
    GEMMCONV_UNROLL
    for (int c = 0; c < kLanes; ++c) {
      v[c] = load(x);
      x += t.channel_stride;
    }
  } else {
    GEMMCONV_UNROLL
    for (int c = 0; c < kLanes; ++c) {
      v[c] = load(x);
      x += c + 1 < t.channels ? t.channel_stride : 0;
    }
  }
  transpose(v);
}

// Stores those of kLanes pixels that exist, from pixel p on.
void store_pixels(const ChannelVectorsRead& t, std::ptrdiff_t p, const Vec (&v)[kLanes]) {
  std::ptrdiff_t column = p % t.columns;
  float* to = t.strip + p / t.columns * t.strip_row_stride + column * kLanes;
  const std::ptrdiff_t next_row = t.strip_row_stride - t.columns * kLanes;
  GEMMCONV_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    store(to, v[i]);
    const bool end = ++column == t.columns;
    to += kLanes + (end ? next_row : 0);
    column = end ? 0 : column;
  }
}

void read_transposed(const ChannelVectorsRead& t) {
  if (t.pixels < kLanes) {
    float* to = t.strip;
    for (std::ptrdiff_t p = 0, column = 0; p < t.pixels; ++p) {
      for (std::ptrdiff_t c = 0; c < t.channels; ++c) {
        to[column * kLanes + c] = t.x[c * t.channel_stride + p];
      }
      if (++column == t.columns) {
        column = 0;
        to += t.strip_row_stride;
      }
    }
    return;
  }
  // The first and the last vector overlap those beside them: pixels may be stored twice.
  const std::ptrdiff_t last = t.pixels - kLanes;
  std::ptrdiff_t next = to_second(t.x, t.channel_stride, t.pixels);
  for (std::ptrdiff_t p = 0;; p = next < last ? next : last, next += kLanes) {
    Vec v[kLanes];
    load_transposed(t, p, v);
    store_pixels(t, p, v);
    if (p == last) return;
  }
}

void read(const ChannelVectorsRead& t) {
  if (t.channel_stride == 1) {
    read_in_place(t);
  } else {
    read_transposed(t);
  }
}

// Output channels on the lanes of the output as well.
void write_in_place(const ChannelVectorsWrite& t) {
  constexpr int kRows = 8;
  Output out = t.output;
  const auto pixels = [&]<int R>(std::ptrdiff_t p, Vec(&acc)[R][1]) __attribute__((always_inline)) {
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = load(t.strip + (p + r) * kLanes);
    finish<R, 1>(acc, static_cast<int>(t.channels), out);
    out.c += R * out.row_stride;
    if (out.add != nullptr) out.add += R * out.row_stride;
  };
  std::ptrdiff_t p = 0;
  for (; p + kRows <= t.pixels; p += kRows) {
    Vec acc[kRows][1];
    pixels(p, acc);
  }
  for (; p < t.pixels; ++p) {
    Vec acc[1][1];
    pixels(p, acc);
  }
}

void write_transposed(const ChannelVectorsWrite& t) {
  Output out = t.output;
  std::ptrdiff_t count = to_second(out.c, out.row_stride, t.pixels);
  for (std::ptrdiff_t p = 0; p < t.pixels; p += count, count = kLanes) {
    const int valid = static_cast<int>(t.pixels - p < count ? t.pixels - p : count);
    Vec v[kLanes];
    GEMMCONV_UNROLL
    for (int i = 0; i < kLanes; ++i) v[i] = load(t.strip + (p + i) * kLanes);
    transpose(v);
    if (t.channels == kLanes) {
      Vec acc[kLanes][1];
      GEMMCONV_UNROLL
      for (int r = 0; r < kLanes; ++r) acc[r][0] = v[r];
      finish<kLanes, 1>(acc, valid, out);
    } else {
      alignas(64) float sums[kLanes * kLanes];
      GEMMCONV_UNROLL
      for (int r = 0; r < kLanes; ++r) {
        store(sums + r * kLanes, v[r] + out.bias[r]);
      }
      finish_in_memory(sums, static_cast<int>(t.channels), kLanes, valid, out);
    }
    out.c += count;
    if (out.add != nullptr) out.add += count;
  }
}

void write(const ChannelVectorsWrite& t) {
  if (t.transposed) {
    write_transposed(t);
  } else {
    write_in_place(t);
  }
}

}  // namespace

extern const ChannelVectorsKernel channel_vectors_kernel;
constinit const ChannelVectorsKernel channel_vectors_kernel = {read, write, finish_in_memory};

}  // namespace gemmconv::GEMMCONV_ISA
