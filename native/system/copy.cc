// SPDX-License-Identifier: MIT
#include "system/copy.h"

#include <cstring>

#include "system/buffer.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace gemmconv {
namespace {

#if defined(__x86_64__)

// Smaller ones may still be in the caches when they are read. At 25 KB, 32 pending, calls a second
// would be 62 700 -> 58 800 with an L3 in common, 49 100 -> 52 100 without.
constexpr std::size_t kStreamedFrom = std::size_t{64} << 10;

// Past the caches, as many bytes as are returned. Lines that the other core has read stay in its
// cache, and to write to them the ordinary way is to ask for each of them back. That takes 2 ns a
// line while the cores have an L3 in common, but 26 where they do not: 0.8 MB then take 330 us
// instead of 60. Which of it a virtual machine gets may change every few seconds. And where calls
// wait, their copies leave the caches anyway before a worker comes to them.
std::size_t stream(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes < kStreamedFrom) return 0;
  const std::size_t streamed = bytes / kAlignment * kAlignment;
  for (std::size_t i = 0; i < streamed; i += sizeof(__m128i)) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), part);
  }
  _mm_sfence();  // no later store overtakes these, by which another thread would be told of them
  return streamed;
}

#else

// Not measured elsewhere.
std::size_t stream(std::byte*, const std::byte*, std::size_t) { return 0; }

#endif

}  // namespace

void copy_for_other_core(std::byte* to, const std::byte* from, std::size_t bytes) {
  const std::size_t streamed = stream(to, from, bytes);
  // Of nothing, `from` may be null.
  if (bytes > streamed) std::memcpy(to + streamed, from + streamed, bytes - streamed);
}

}  // namespace gemmconv
