// SPDX-License-Identifier: MIT
// Where an algorithm may be interrupted. A task can take tens of milliseconds (a cache block of a
// large layer); cutting it finer would cost packing or streaming. So algorithms tell, between
// pieces of some ten microseconds, where nothing is lost by a pause, and there the pool runs a
// smaller job on the same thread if one waits.
#pragma once

#include <atomic>
#include <cstddef>

namespace gemmconv {

// Why a task might have to pause.
struct alignas(64) Interruptions {
  std::atomic<unsigned> waiting{0};  // a bit for each size class in which jobs wait (schedule.h)
  std::atomic<int> cancelled{0};     // jobs that are no longer wanted, but may be at work

  bool any() const {
    return waiting.load(std::memory_order_relaxed) != 0 ||
           cancelled.load(std::memory_order_relaxed) != 0;
  }
};
inline Interruptions interruptions;

// Makes tasks look, as long as it exists, whether they are still wanted.
class Interruption {
 public:
  Interruption() { interruptions.cancelled.fetch_add(1, std::memory_order_relaxed); }
  ~Interruption() { interruptions.cancelled.fetch_sub(1, std::memory_order_relaxed); }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
};

// Steps of the largest tiles of AVX2 that take 25 µs.
inline constexpr std::ptrdiff_t kStepsASlice = 12288;

bool pause_task() noexcept;  // in threads.cc

// False when nobody wants the result any more: the algorithm may leave it unfinished. Costs two
// loads when there is nothing to do.
inline bool end_slice() noexcept { return !interruptions.any() || pause_task(); }

}  // namespace gemmconv
