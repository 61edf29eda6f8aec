// SPDX-License-Identifier: MIT
// Finished jobs whose owners have not been told yet. To tell one wakes an event loop, which costs
// more than half of a small job; told together, many cost as much as one. No threads here, and no
// lock, as in schedule.h: the pool (threads.cc) holds one around every call.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

#include "threads/schedule.h"

namespace gemmconv {

class Reports {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Jobs of up to this class wait to be told of. A larger one is worth a wake-up of its own: that
  // costs 10 to 20 us of all cores, for the loop's thread takes one from a worker. (Up to class 0,
  // 32 pending 64->64@14 reached 0.75 of the rate of runSync, 64->64@28 0.88; now 0.91 and 0.93.)
  static constexpr int kGathered = 2;

  bool empty() const { return first_ == nullptr; }

  void add(Job& job, Time now) {
    if (empty()) {
      oldest_ = now;
      smallest_ = kGathered;
    }
    smallest_ = std::min(smallest_, job.size_class);
    job.next = nullptr;
    (empty() ? first_ : last_->next) = &job;
    last_ = &job;
    ++count_;
  }

  // The smallest class among them: they do not wait for a job of a larger one.
  int smallest() const { return smallest_; }

  // waiting: jobs of that class for which there is no thread yet. Those who are told are likely to
  // ask for as many jobs again; told when half is done, they do so before threads run out of work.
  // So where less waits than threads could do at once, each job is told of when it has finished.
  bool are_due(int waiting, Time now) const {
    return !empty() && (count_ >= waiting || now - oldest_ >= longest(smallest_));
  }

  // The first of them; the others follow by `next`.
  Job* take() {
    count_ = 0;
    last_ = nullptr;
    return std::exchange(first_, nullptr);
  }

 private:
  // Bounds what gathering adds to the time that a call takes while others wait: of the smallest
  // class hundreds, of the others so many that each waits for longer.
  static constexpr std::chrono::microseconds longest(int size_class) {
    return std::chrono::microseconds(size_class == 0 ? 100 : 400);
  }

  Job* first_ = nullptr;
  Job* last_ = nullptr;
  int count_ = 0;
  int smallest_ = kGathered;
  Time oldest_{};
};

}  // namespace gemmconv
