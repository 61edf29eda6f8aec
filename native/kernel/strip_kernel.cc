// SPDX-License-Identifier: MIT
// Copies a line of an image into a strip, one source, compiled once per ISA: copying is up to a
// quarter of a layer with few output channels, and by vectors of the ISA takes half as long as by
// those of the compiler's default.
#include "kernel.h"
#include "pixels.h"
#include "quad.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Zeros at both ends of a line of at least four floats: mostly a few, so four at a time. They may
// reach into what is copied later.
[[gnu::always_inline]] inline void zero_ends(float* dst, const StripLine& line) {
  const std::ptrdiff_t last = line.before + line.inside + line.after - 4;
  for (std::ptrdiff_t i = 0; i < line.before; i += 4) {
    *reinterpret_cast<Quad*>(dst + (i < last ? i : last)) = Quad{};
  }
  for (std::ptrdiff_t i = 0; i < line.after; i += 4) {
    *reinterpret_cast<Quad*>(dst + (last > i ? last - i : 0)) = Quad{};
  }
}

void short_line(float* dst, const float* src, const StripLine& line) {
  const std::ptrdiff_t end = line.before + line.inside;
  for (std::ptrdiff_t i = 0; i < end + line.after; ++i) {
    dst[i] = i < line.before || i >= end ? 0.0f : src[(i - line.before) * line.step];
  }
}

// Of an alias template Clang 19 forgets the alignment.
template <typename T, int N>
struct Unaligned {
  typedef T Vector __attribute__((vector_size(N * sizeof(T)), aligned(alignof(float)), may_alias));
};

template <typename T, int N>
using UnalignedVector = typename Unaligned<T, N>::Vector;

// N neighbours, or every other: the low halves of pairs, or the high ones.
template <int N>
[[gnu::always_inline]] inline void copy_neighbours(float* dst, const float* src) {
  *reinterpret_cast<UnalignedVector<float, N>*>(dst) =
      *reinterpret_cast<const UnalignedVector<float, N>*>(src);
}

template <int N, int kShift>
[[gnu::always_inline]] inline void copy_halves(float* dst, const float* pairs) {
  const auto halves = *reinterpret_cast<const UnalignedVector<long long, N>*>(pairs) >> kShift;
  *reinterpret_cast<UnalignedVector<int, N>*>(dst) =
      __builtin_convertvector(halves, UnalignedVector<int, N>);
}

// dst[i] = src[i · kStep] by vectors of N floats, of which the last may overlap the one before; or
// of fewer floats where there are fewer. Of pairs there is one more, so that the last vector has a
// float before it.
template <int kStep, int N>
[[gnu::always_inline]] inline void copy(float* dst, const float* src, std::ptrdiff_t count) {
  if (count < N + (kStep - 1)) {
    if constexpr (N > 4) {
      copy<kStep, N / 2>(dst, src, count);
    } else {
      for (std::ptrdiff_t i = 0; i < count; ++i) dst[i] = src[i * kStep];
    }
    return;
  }
  const std::ptrdiff_t last = count - N;
  for (std::ptrdiff_t i = 0; i < last; i += N) {
    if constexpr (kStep == 1) {
      copy_neighbours<N>(dst + i, src + i);
    } else {
      copy_halves<N, 0>(dst + i, src + 2 * i);
    }
  }
  if constexpr (kStep == 1) {
    copy_neighbours<N>(dst + last, src + last);
  } else {
    // Up to its last float and no further, which may be the image's last.
    copy_halves<N, 32>(dst + last, src + 2 * last - 1);
  }
}

// dst[i] = src[i · step], four at a time, of which the last may overlap those before (4 to 13 % of
// patches of 4×4, 3->96@224, Zen 4).
void copy_apart(float* dst, const float* src, std::ptrdiff_t step, std::ptrdiff_t count) {
  if (count < 4) {
    for (std::ptrdiff_t i = 0; i < count; ++i) dst[i] = src[i * step];
    return;
  }
  for (std::ptrdiff_t i = 0; i < count; i += 4) {
    const std::ptrdiff_t at = i + 4 <= count ? i : count - 4;
    gather_quad(dst + at, src + at * step, step);
  }
}

void copy_line(const StripLine& line) {
  const bool is_short = line.before + line.inside + line.after < 4;
  for (std::ptrdiff_t c = 0; c < line.channels; ++c) {
    const float* src = line.src + c * line.channel_stride;
    float* dst = line.dst + c * line.dst_channel_stride;
    if (is_short) {
      short_line(dst, src, line);
      continue;
    }
    zero_ends(dst, line);
    dst += line.before;
    if (line.step == 1) {
      copy<1, kLanes>(dst, src, line.inside);
    } else if (line.step == 2) {
      copy<2, kLanes>(dst, src, line.inside);
    } else {
      copy_apart(dst, src, line.step, line.inside);
    }
  }
}

// How far ahead pixels are asked for, into L2: one stream of lines is too few for the hardware to
// read ahead of (Zen 4, 1×1 3->1@1080p: 3.1 ms without, 2.9 with 512 floats, 2.4 with 1024, 2.3
// with 2048 and 4096; into L1 2.7).
constexpr std::ptrdiff_t kSplitAhead = 2048;

template <int C>
void split_pixels(const float* src, std::ptrdiff_t pixels, float* dst, std::ptrdiff_t dst_stride) {
  for (std::ptrdiff_t i = 0; i < pixels; i += kLanes) {
    // The last vectors overlap those before.
    const std::ptrdiff_t at = i + kLanes <= pixels ? i : pixels - kLanes;
    const float* x = src + at * C;
    Vec v[C];
    GEMMCONV_UNROLL
    for (int c = 0; c < C; ++c) {
      __builtin_prefetch(x + kSplitAhead + c * kLanes, 0, 2);
      v[c] = load(x + c * kLanes);
    }
    split(v);
    float* to = dst + at;
    GEMMCONV_UNROLL
    for (int c = 0; c < C; ++c) {
      store(to, v[c]);
      to += dst_stride;
    }
  }
}

template <int C>
void split_pairs(const float* src, std::ptrdiff_t pairs, float* dst, float* other,
                 std::ptrdiff_t dst_stride) {
  for (std::ptrdiff_t i = 0; i < pairs; i += kLanes) {
    const std::ptrdiff_t at = i + kLanes <= pairs ? i : pairs - kLanes;
    const float* x = src + at * (2 * C);
    Vec v[2][C];
    GEMMCONV_UNROLL
    for (int c = 0; c < 2 * C; ++c) {
      __builtin_prefetch(x + kSplitAhead + c * kLanes, 0, 2);
      v[c / C][c % C] = load(x + c * kLanes);
    }
    split(v[0]);
    split(v[1]);
    GEMMCONV_UNROLL
    for (int c = 0; c < C; ++c) {
      store(dst + at + c * dst_stride, every_other<0>(v[0][c], v[1][c], Lane{}));
      store(other + at + c * dst_stride, every_other<1>(v[0][c], v[1][c], Lane{}));
    }
  }
}

}  // namespace

extern const StripKernel strip_kernel;
constinit const StripKernel strip_kernel = {copy_line,
                                            kLanes,
                                            {split_pixels<2>, split_pixels<3>, split_pixels<4>},
                                            {split_pairs<2>, split_pairs<3>, split_pairs<4>}};

}  // namespace gemmconv::GEMMCONV_ISA
