// SPDX-License-Identifier: MIT
#include "system/buffer.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "system/cpu.h"
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
BufferCache::BufferCache(std::size_t most_bytes)
    : most_bytes_(std::max(most_bytes, kRetainedBytes)) {
  free_.reserve(kMostBuffers + 1);
}

// An eighth: half of the memory is the default bound of what pending calls hold.
BufferCache& BufferCache::process() {
  static BufferCache* cache = new BufferCache(static_cast<std::size_t>(usable_memory() / 8));
  return *cache;
}

Buffer BufferCache::remove(std::vector<Free>::iterator it) {
  Buffer buffer = std::move(it->buffer);
  free_bytes_ -= buffer.size();
  free_.erase(it);
  return buffer;
}

// The smallest that fits, unless it would waste more than it holds; of equals the one given back
// last, which may still be in a cache.
Buffer BufferCache::find(std::size_t bytes) {
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const std::size_t size = it->buffer.size();
    if (size < bytes || size / 2 > std::max(bytes, std::size_t{1} << 20)) continue;
    if (best == free_.end() || size <= best->buffer.size()) best = it;
  }
  return best == free_.end() ? Buffer() : remove(best);
}

Buffer BufferCache::take(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  {
    const std::lock_guard lock(mutex_);
    Buffer found = find(bytes);
    if (found.size() > 0) return found;
  }
  try {
    return Buffer(bytes);
  } catch (const std::bad_alloc&) {
    clear();
  }
  return Buffer(bytes);
}

void BufferCache::clear() noexcept {
  const std::lock_guard lock(mutex_);
  free_.clear();
  free_bytes_ = 0;
}

std::size_t BufferCache::retained_bytes() {
  const std::lock_guard lock(mutex_);
  return free_bytes_;
}

// The oldest that it does not keep; an empty one when there is none. Small ones cost little to
// make.
Buffer BufferCache::remove_surplus(Clock::time_point now) {
  if (!holds_more()) return Buffer();
  const bool is_full = free_bytes_ > most_bytes_ || free_.size() > kMostBuffers;
  const auto it = std::ranges::find_if(free_, [&](const Free& one) {
    return is_full || one.buffer.size() < kHugePage || now - one.since >= kKept;
  });
  return it == free_.end() ? Buffer() : remove(it);
}

// Small ones are kept however old they are: no need to look at the clock.
bool BufferCache::keep_small(Buffer& buffer) noexcept {
  if (buffer.size() >= kHugePage) return false;
  const std::lock_guard lock(mutex_);
  if (free_.size() >= kRetainedBuffers || free_bytes_ + buffer.size() > kRetainedBytes) {
    return false;
  }
  free_bytes_ += buffer.size();
  free_.push_back({std::move(buffer), {}});
  return true;
}

void BufferCache::give_back(Buffer buffer) noexcept {
  if (buffer.size() == 0 || keep_small(buffer)) return;
  give_back(std::move(buffer), Clock::now());
}

void BufferCache::give_back(Buffer buffer, Clock::time_point now) noexcept {
  if (buffer.size() == 0 || buffer.size() > most_bytes_) return;
  const std::lock_guard lock(mutex_);
  free_bytes_ += buffer.size();
  free_.push_back({std::move(buffer), now});
  while (remove_surplus(now).size() > 0) {
  }
}

// One at a time: to free much takes milliseconds, and calls come meanwhile.
bool BufferCache::let_go(Clock::time_point now) noexcept {
  for (;;) {
    Buffer buffer;
    const std::lock_guard lock(mutex_);
    buffer = remove_surplus(now);
    if (buffer.size() == 0) return holds_more();
  }
}

}  // namespace gemmconv
