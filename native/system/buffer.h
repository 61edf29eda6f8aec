// SPDX-License-Identifier: MIT
// Aligned, move-only storage, and a small cache of it: a server repeats its calls, and fresh pages
// cost more (4-8 ms for 10 MB of page faults) than most layers take to compute.
#pragma once

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

// Hands out buffers and takes them back; keeps at most kRetainedBytes for the next call.
class BufferCache {
 public:
  // The process's one cache; never destroyed, because threads may outlive static destructors.
  static BufferCache& process();

  // At least `bytes`, contents undefined. Throws std::bad_alloc.
  Buffer take(std::size_t bytes);
  void give_back(Buffer buffer) noexcept;

  // Holds the snapshots of a few ResNet-sized calls; what goes over is freed at once.
  static constexpr std::size_t kRetainedBytes = std::size_t{64} << 20;
  std::size_t retained_bytes();

 private:
  BufferCache();

  static constexpr std::size_t kRetainedBuffers = 16;

  std::mutex mutex_;
  std::vector<Buffer> free_;
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
