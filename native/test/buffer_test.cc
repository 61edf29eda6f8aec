// SPDX-License-Identifier: MIT
#include "system/buffer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "system/copy.h"

namespace gemmconv::test {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

using Clock = BufferCache::Clock;

void give_back(BufferCache& cache, std::vector<Buffer> buffers, Clock::time_point now) {
  for (Buffer& buffer : buffers) cache.give_back(std::move(buffer), now);
}

std::vector<Buffer> buffers_of(BufferCache& cache, const std::vector<std::size_t>& sizes) {
  std::vector<Buffer> buffers;
  for (const std::size_t bytes : sizes) buffers.push_back(cache.take(bytes));
  return buffers;
}

void copy_tests(Suite& suite) {
  suite.test("a copy for another core is one, and no byte more, wherever its source begins", [&] {
    for (const std::size_t bytes :
         std::vector<std::size_t>{0, 1, 64, 65'535, 65'536, 65'537, 65'599, 200'000}) {
      for (const std::size_t offset : std::vector<std::size_t>{0, 1, 4, 20}) {
        std::vector<std::byte> source(offset + bytes);
        for (std::size_t i = 0; i < source.size(); ++i) source[i] = std::byte(i * 7 % 251);
        const Buffer copy(bytes + 1);
        std::memset(copy.data(), 255, copy.size());
        copy_for_other_core(copy.data(), source.data() + offset, bytes);
        const bool same = std::equal(source.begin() + static_cast<std::ptrdiff_t>(offset),
                                     source.end(), copy.data());
        suite.check(same, std::to_string(bytes) + " bytes from " + std::to_string(offset));
        suite.check(copy.data()[bytes] == std::byte(255), "one byte more");
      }
    }
  });
}

}  // namespace

void buffer_tests(Suite& suite) {
  const Clock::time_point begin{};
  suite.test("the cache keeps no more than it says", [&] {
    BufferCache cache(0);
    give_back(cache, buffers_of(cache, {40 * kMiB, 41 * kMiB, 42 * kMiB}), begin);
    suite.check(cache.retained_bytes() == 42 * kMiB, "three large ones");
    give_back(cache, buffers_of(cache, {BufferCache::kRetainedBytes + 1}), begin);
    suite.check(cache.retained_bytes() == 42 * kMiB, "one that is larger than all it may keep");
    give_back(cache, buffers_of(cache, std::vector<std::size_t>(80, kMiB / 4)), begin);
    suite.check(cache.retained_bytes() == 42 * kMiB + 63 * kMiB / 4, "more than 64");
  });
  suite.test("the cache keeps small ones as long as they are few, whatever the time", [&] {
    BufferCache cache(0);
    for (Buffer& buffer : buffers_of(cache, std::vector<std::size_t>(80, kMiB / 4))) {
      cache.give_back(std::move(buffer));
    }
    suite.check(cache.retained_bytes() == 16 * kMiB, "64 of them");
    cache.give_back(Buffer());
    suite.check(cache.retained_bytes() == 16 * kMiB, "and no empty one");
    for (Buffer& buffer : buffers_of(cache, std::vector<std::size_t>(60, 3 * kMiB / 2))) {
      cache.give_back(std::move(buffer));
    }
    suite.check(cache.retained_bytes() <= 64 * kMiB, "beyond its bound");
  });
  suite.test("the cache keeps many large ones for a while, then as many as ever", [&] {
    BufferCache cache(200 * kMiB);
    give_back(cache, buffers_of(cache, std::vector<std::size_t>(40, 4 * kMiB)), begin);
    suite.check(cache.retained_bytes() == 160 * kMiB, "for a while");
    suite.check(cache.let_go(begin + BufferCache::kKept / 2), "nothing to let go of later");
    suite.check(cache.retained_bytes() == 160 * kMiB, "too early");
    const Clock::time_point later = begin + BufferCache::kKept;
    give_back(cache, buffers_of(cache, std::vector<std::size_t>(20, 4 * kMiB)), later);
    suite.check(cache.retained_bytes() == 80 * kMiB, "those that are used again");
    suite.check(cache.let_go(later), "all have been used");
    suite.check(!cache.let_go(later + BufferCache::kKept), "more to let go of");
    suite.check(cache.retained_bytes() == 64 * kMiB, "sixteen");
    give_back(cache, buffers_of(cache, std::vector<std::size_t>(60, 4 * kMiB)), later);
    suite.check(cache.retained_bytes() <= 200 * kMiB, "beyond its bound");
  });
  suite.test("of kept buffers the smallest that fits is taken, and none that is far too large",
             [&] {
               BufferCache cache(0);
               give_back(cache, buffers_of(cache, {9 * kMiB, 5 * kMiB, 7 * kMiB}), begin);
               const Buffer six = cache.take(6 * kMiB);
               suite.check(six.size() == 7 * kMiB, "not the one of seven");
               const Buffer small = cache.take(kMiB);
               suite.check(small.size() == kMiB, "one of five for a request of one");
             });
  copy_tests(suite);
}

}  // namespace gemmconv::test
