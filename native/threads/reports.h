// SPDX-License-Identifier: MIT
// Finished jobs whose owners have not been told yet. To tell one wakes an event loop, which costs
// more than half of a small job; told together, many cost as much as one. No threads here, and no
// lock, as in schedule.h: the pool (threads.cc) holds one around every call.
#pragma once

#include <chrono>
#include <utility>

#include "threads/schedule.h"

namespace gemmconv {

class Reports {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Jobs of this class wait to be told of. A larger one is worth a wake-up of its own.
  static constexpr int kGathered = 0;

  bool empty() const { return first_ == nullptr; }

  void add(Job& job, Time now) {
    if (empty()) oldest_ = now;
    job.next = nullptr;
    (empty() ? first_ : last_->next) = &job;
    last_ = &job;
    ++count_;
  }

  // waiting: jobs of that class for which there is no thread yet. Those who are told are likely to
  // ask for as many jobs again; told when half is done, they do so before threads run out of work.
  // So where less waits than threads could do at once, each job is told of when it has finished.
  bool are_due(int waiting, Time now) const {
    return !empty() && (count_ >= waiting || now - oldest_ >= kLongest);
  }

  // The first of them; the others follow by `next`.
  Job* take() {
    count_ = 0;
    last_ = nullptr;
    return std::exchange(first_, nullptr);
  }

 private:
  // Bounds what gathering adds to the time that a call takes while hundreds wait.
  static constexpr std::chrono::microseconds kLongest{100};

  Job* first_ = nullptr;
  Job* last_ = nullptr;
  int count_ = 0;
  Time oldest_{};
};

}  // namespace gemmconv
