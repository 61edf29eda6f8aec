// SPDX-License-Identifier: MIT
#include "addon/addon_queue.h"

#include <limits>

#include "system/cpu.h"

namespace gemmconv::addon {

namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// Half of the memory: a queue that outgrows it would be swapped, or the process killed.
double default_bytes() { return usable_memory() > 0 ? usable_memory() / 2 : kNoLimit; }

}  // namespace

CallQueue::CallQueue() : max_pending_(kNoLimit), max_pending_bytes_(default_bytes()) {}

CallQueue& CallQueue::process() {
  static CallQueue* queue = new CallQueue;
  return *queue;
}

void CallQueue::limit(double max_pending, double max_pending_bytes) {
  max_pending_.store(max_pending, std::memory_order_relaxed);
  max_pending_bytes_.store(max_pending_bytes, std::memory_order_relaxed);
}

bool CallQueue::enter(std::int64_t bytes) {
  const std::int64_t calls = pending_.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::int64_t held = pending_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  const bool fits = static_cast<double>(calls) <= max_pending() &&
                    static_cast<double>(held) <= max_pending_bytes();
  if (fits || calls == 1) return true;
  forgo(bytes);
  refused_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void CallQueue::forgo(std::int64_t bytes) {
  pending_.fetch_sub(1, std::memory_order_relaxed);
  pending_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

void CallQueue::leave(std::int64_t bytes, End end) {
  forgo(bytes);
  ended_[static_cast<int>(end)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace gemmconv::addon
