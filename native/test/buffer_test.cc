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

void give_back(std::vector<Buffer> buffers) {
  for (Buffer& buffer : buffers) BufferCache::process().give_back(std::move(buffer));
}

std::vector<Buffer> buffers_of(const std::vector<std::size_t>& sizes) {
  std::vector<Buffer> buffers;
  for (const std::size_t bytes : sizes) buffers.push_back(BufferCache::process().take(bytes));
  return buffers;
}

}  // namespace

void buffer_tests(Suite& suite) {
  BufferCache& cache = BufferCache::process();
  suite.test("the cache keeps no more than it says", [&] {
    give_back(buffers_of({40 * kMiB, 41 * kMiB, 42 * kMiB}));
    suite.check(cache.retained_bytes() > 0, "nothing");
    suite.check(cache.retained_bytes() <= BufferCache::kRetainedBytes, "three large ones");
    const std::size_t before = cache.retained_bytes();
    give_back(buffers_of({BufferCache::kRetainedBytes + 1}));
    suite.check(cache.retained_bytes() <= before, "one that is larger than all it may keep");
    give_back(buffers_of(std::vector<std::size_t>(40, kMiB)));
    suite.check(cache.retained_bytes() <= 16 * kMiB, "more than sixteen small ones");
  });
  suite.test("of kept buffers the smallest that fits is taken, and none that is far too large",
             [&] {
               give_back(buffers_of(std::vector<std::size_t>(16, 1)));  // whatever was kept is gone
               give_back(buffers_of({9 * kMiB, 5 * kMiB, 7 * kMiB}));
               const Buffer six = cache.take(6 * kMiB);
               suite.check(six.size() == 7 * kMiB, "not the one of seven");
               const Buffer small = cache.take(kMiB);
               suite.check(small.size() == kMiB, "one of five for a request of one");
             });
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

}  // namespace gemmconv::test
