// SPDX-License-Identifier: MIT
#include "system/buffer.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "system/system.h"

namespace gemmconv {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::align_val_t alignment_for(std::size_t bytes) {
  return std::align_val_t{bytes >= kHugePage ? kHugePage : kAlignment};
}

}  // namespace

void prefer_huge_pages(void* data, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t last = (begin + bytes) / kHugePage * kHugePage;
  if (first < last) system::advise_huge_pages(reinterpret_cast<void*>(first), last - first);
}

Buffer::Buffer(std::size_t bytes) {
  if (bytes == 0) return;
  data_ = static_cast<std::byte*>(::operator new(bytes, alignment_for(bytes)));
  size_ = bytes;
  prefer_huge_pages(data_, bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::operator delete(data_, alignment_for(size_));
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
    // The smallest that fits, unless it would waste more than it holds; of equals the one given
    // back last, which may still be in a cache.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size() < bytes || it->size() / 2 > std::max(bytes, std::size_t{1} << 20)) continue;
      if (best == free_.end() || it->size() <= best->size()) best = it;
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

std::size_t BufferCache::retained_bytes() {
  const std::lock_guard lock(mutex_);
  return free_bytes_;
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
