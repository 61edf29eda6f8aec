// SPDX-License-Identifier: MIT
// Aligned, move-only storage, and a small cache of it: a server repeats its calls, and fresh pages
// cost more (4-8 ms for 10 MB of page faults) than most layers take to compute.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace gemmconv {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

constexpr std::size_t align_up(std::size_t bytes, std::size_t alignment = kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Asks for huge pages under memory that has not been written yet, if it is large enough to hold
// one: a fresh 10 MB output costs 4-8 ms in page faults without, 0.8 ms with.
void prefer_huge_pages(void* data, std::size_t bytes);

class Buffer {
 public:
  Buffer() = default;
  // Uninitialised. Throws std::bad_alloc.
  explicit Buffer(std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }
  std::size_t size() const { return size_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Hands out buffers and takes them back. It keeps kRetainedBytes for the next call; and of large
// ones, for as long as kKept, all that were in use: a server has bursts of calls, and the next one,
// too, needs a copy of each input. (32 calls at once of 16 images of 512->512@28, 820 MB of copies:
// the kernel cleared pages for 20 % of the time, on a virtual machine of Zen 4.)
class BufferCache {
 public:
  using Clock = std::chrono::steady_clock;

  // The process's one cache; never destroyed, because threads may outlive static destructors.
  static BufferCache& process();

  // most_bytes: what it keeps for a while.
  explicit BufferCache(std::size_t most_bytes);

  // At least `bytes`, contents undefined. Throws std::bad_alloc.
  Buffer take(std::size_t bytes);
  void give_back(Buffer buffer) noexcept;
  void give_back(Buffer buffer, Clock::time_point now) noexcept;

  // Frees what has been kept for long enough. True when it is to be called again, after kKept.
  bool let_go(Clock::time_point now = Clock::now()) noexcept;

  // Holds the snapshots of a few ResNet-sized calls.
  static constexpr std::size_t kRetainedBytes = std::size_t{64} << 20;
  static constexpr std::chrono::seconds kKept{10};
  std::size_t retained_bytes();

 private:
  struct Free {
    Buffer buffer;
    Clock::time_point since;
  };

  // As many as the event loop settles calls in one turn.
  static constexpr std::size_t kRetainedBuffers = 64;
  static constexpr std::size_t kMostBuffers = 256;

  bool keep_small(Buffer& buffer) noexcept;
  bool holds_more() const {
    return free_.size() > kRetainedBuffers || free_bytes_ > kRetainedBytes;
  }
  Buffer remove(std::vector<Free>::iterator it);
  Buffer remove_surplus(Clock::time_point now);
  Buffer find(std::size_t bytes);
  void clear() noexcept;

  const std::size_t most_bytes_;
  std::mutex mutex_;  // for all below, and around every call of the private ones but keep_small
  std::vector<Free> free_;  // the one given back last is the last
  std::size_t free_bytes_ = 0;
};

// A buffer borrowed from the process's cache for a scope.
class Borrowed {
 public:
  explicit Borrowed(std::size_t bytes) : buffer_(BufferCache::process().take(bytes)) {}
  ~Borrowed() { BufferCache::process().give_back(std::move(buffer_)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  std::byte* data() const { return buffer_.data(); }
  float* floats() const { return buffer_.floats(); }

 private:
  Buffer buffer_;
};

}  // namespace gemmconv
