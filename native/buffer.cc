// SPDX-License-Identifier: MIT
#include "buffer.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace gemmconv {

Buffer::Buffer(std::size_t bytes) {
  if (bytes == 0) return;
  data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment}));
  size_ = bytes;
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::operator delete(data_, std::align_val_t{kAlignment});
}

// Room for one more than are kept, so that giving back never allocates.
BufferCache::BufferCache() { free_.reserve(kRetainedBuffers + 1); }

BufferCache& BufferCache::process() {
  static BufferCache* cache = new BufferCache;
  return *cache;
}

Buffer BufferCache::take(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  {
    const std::lock_guard lock(mutex_);
    // The smallest that fits, unless it would waste more than it holds.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size() < bytes || it->size() / 2 > std::max(bytes, std::size_t{1} << 20)) continue;
      if (best == free_.end() || it->size() < best->size()) best = it;
    }
    if (best != free_.end()) {
      Buffer found = std::move(*best);
      free_bytes_ -= found.size();
      *best = std::move(free_.back());
      free_.pop_back();
      return found;
    }
  }
  return Buffer(bytes);
}

void BufferCache::give_back(Buffer buffer) noexcept {
  if (buffer.size() == 0 || buffer.size() > kRetainedBytes) return;
  const std::lock_guard lock(mutex_);
  free_bytes_ += buffer.size();
  free_.push_back(std::move(buffer));
  while (free_.size() > kRetainedBuffers || free_bytes_ > kRetainedBytes) {
    free_bytes_ -= free_.front().size();
    free_.erase(free_.begin());
  }
}

}  // namespace gemmconv
