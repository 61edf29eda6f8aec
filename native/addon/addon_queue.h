// SPDX-License-Identifier: MIT
// How much asynchronous work the process has taken on: counted for all environments together, and
// bounded, because every pending call holds its input.
#pragma once

#include <atomic>
#include <cstdint>

namespace gemmconv::addon {

class CallQueue {
 public:
  static CallQueue& process();

  // Infinity for no limit.
  void limit(double max_pending, double max_pending_bytes);
  double max_pending() const { return max_pending_.load(std::memory_order_relaxed); }
  double max_pending_bytes() const { return max_pending_bytes_.load(std::memory_order_relaxed); }

  // Counts a call in, unless that would pass a limit. However large, a lone call is let in.
  bool enter(std::int64_t bytes);
  // Counts out a call that was let in and has not been started after all.
  void forgo(std::int64_t bytes);
  enum class End { completed, aborted, failed };
  void leave(std::int64_t bytes, End end);

  std::int64_t pending() const { return pending_.load(std::memory_order_relaxed); }
  std::int64_t pending_bytes() const { return pending_bytes_.load(std::memory_order_relaxed); }
  std::int64_t ended(End end) const {
    return ended_[static_cast<int>(end)].load(std::memory_order_relaxed);
  }
  std::int64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  CallQueue();

  std::atomic<double> max_pending_;
  std::atomic<double> max_pending_bytes_;
  std::atomic<std::int64_t> pending_{0};
  std::atomic<std::int64_t> pending_bytes_{0};
  std::atomic<std::int64_t> refused_{0};
  std::atomic<std::int64_t> ended_[3]{};
};

}  // namespace gemmconv::addon
