// SPDX-License-Identifier: MIT
// Copies a line of an image into a strip, one source, compiled once per ISA: copying is up to a
// quarter of a layer with few output channels, and by vectors of the ISA takes half as long as by
// those of the compiler's default.
#include "kernel.h"
#include "quad.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

// Zeros at both ends of a line of at least a vector: mostly a few, so four at a time. They may
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

// The last vector may overlap the one before.
[[gnu::always_inline]] inline void copy(float* dst, const float* src, std::ptrdiff_t count) {
  std::ptrdiff_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(dst + i, load(src + i));
  if (i == count) return;
  if (count >= kLanes) {
    store(dst + count - kLanes, load(src + count - kLanes));
    return;
  }
  for (; i < count; ++i) dst[i] = src[i];
}

// Every other float: the low halves of pairs.
[[gnu::always_inline]] inline void copy_even(float* dst, const float* src, std::ptrdiff_t count) {
  typedef long long PairVec
      __attribute__((vector_size(2 * sizeof(Vec)), aligned(alignof(float)), may_alias));
  std::ptrdiff_t i = 0;
  // Not the last, which would read one float beyond it.
  for (; i + kLanes < count; i += kLanes) {
    const IntVec even =
        __builtin_convertvector(*reinterpret_cast<const PairVec*>(src + 2 * i), IntVec);
    store(dst + i, reinterpret_cast<Vec>(even));
  }
  for (; i < count; ++i) dst[i] = src[2 * i];
}

void copy_line(const StripLine& line) {
  const bool is_short = line.before + line.inside + line.after < kLanes;
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
      copy(dst, src, line.inside);
    } else if (line.step == 2) {
      copy_even(dst, src, line.inside);
    } else {
      for (std::ptrdiff_t i = 0; i < line.inside; ++i) dst[i] = src[i * line.step];
    }
  }
}

}  // namespace

extern const StripKernel strip_kernel;
constinit const StripKernel strip_kernel = {copy_line};

}  // namespace gemmconv::GEMMCONV_ISA
