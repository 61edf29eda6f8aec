// SPDX-License-Identifier: MIT
// The vector type of the ISA this file is compiled for. CMake passes its name (GEMMCONV_ISA) and
// its float count (GEMMCONV_LANES). The compiler's own vector type gives the same inner loop as
// intrinsics do, on GCC and Clang, from one source.
#pragma once

#include <cstddef>

// GCC keeps a tile in registers only if its loops are unrolled, and needs to be told (2-3x).
#define GEMMCONV_UNROLL _Pragma("GCC unroll 16")

namespace gemmconv::GEMMCONV_ISA {
namespace {

constexpr int kLanes = GEMMCONV_LANES;
constexpr int kLineFloats = 16;  // as lines.h has it, which kernels do not see

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef int IntVec __attribute__((vector_size(kLanes * sizeof(int))));
typedef Vec UnalignedVec __attribute__((aligned(alignof(float)), may_alias));

// Makes the compiler forget how a pointer came about. Left alone, GCC precomputes the offset of
// each of a tile's pixels, or columns, and keeps most of them on the stack.
[[gnu::always_inline, maybe_unused]] inline void forget(const float*& p) { asm("" : "+r"(p)); }

[[gnu::always_inline]] inline Vec load(const float* p) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}

[[gnu::always_inline]] inline void store(float* p, Vec v) {
  *reinterpret_cast<UnalignedVec*>(p) = v;
}

// Whether a whole line, which is so many vectors, can go to memory without being read from there
// first.
constexpr bool kStreams = kLanes >= 8;
constexpr int kVectorsOfLine = kLineFloats / kLanes;

#if GEMMCONV_LANES >= 8
// To where a line starts. In the compiler's own terms this has another name for each compiler.
[[gnu::always_inline]] inline void stream(float* p, Vec v) {
  asm("vmovntps %1, %0" : "=m"(*reinterpret_cast<UnalignedVec*>(p)) : "v"(v));
}

// Other threads may see later stores before streamed ones, unless this comes between.
[[maybe_unused]] void end_streaming() { asm volatile("sfence" ::: "memory"); }
#else
[[gnu::always_inline]] inline void stream(float* p, Vec v) { store(p, v); }
[[maybe_unused]] void end_streaming() {}
#endif

// Keeps a load where it is. Left alone, GCC repeats it as an operand of each of up to three
// multiply-adds.
[[gnu::always_inline]] inline void keep_load() { asm volatile("" ::: "memory"); }

// x - 0 is x for every x; x + 0 is not (-0), and costs Clang half the speed on AVX2.
[[gnu::always_inline]] inline Vec broadcast(float x) { return x - Vec{}; }

[[gnu::always_inline]] inline IntVec bits_of(Vec v) { return reinterpret_cast<IntVec>(v); }

[[gnu::always_inline]] inline IntVec load_mask(const int* mask) {
  return bits_of(load(reinterpret_cast<const float*>(mask)));
}

// Lanes whose mask is zero, else all ones, are zero, whatever they hold: so is a tap outside the
// image, whatever lies there in memory.
[[gnu::always_inline]] inline Vec masked(Vec x, IntVec mask) {
  return reinterpret_cast<Vec>(bits_of(x) & mask);
}

// The numbers below N, for shuffles of vectors of any length.
template <int... I>
struct Indices {};
template <int N, int... I>
struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <int... I>
struct UpTo<0, I...> {
  using Type = Indices<I...>;
};

// Each takes the place of the next, of which the last is lost. Not a loop: Clang makes a copy in
// memory of that.
template <int N, int... I>
[[gnu::always_inline]] inline void move_up(Vec (&v)[N], Indices<I...>) {
  ((v[N - 1 - I] = v[N - 2 - I]), ...);
}

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
