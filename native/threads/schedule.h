// SPDX-License-Identifier: MIT
// Jobs that wait for threads, and which of them comes next. No threads here, and no lock: the pool
// (threads.cc) holds one around every call but `waiting_below`.
//
// Jobs queue by size, and the queues share the threads by weight, the smaller the more. So a small
// job never waits for a large one to end, and a flood of small ones still leaves the large one a
// share. (Shortest first would starve large jobs; the earliest deadline, or one queue, small ones.)
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace gemmconv {

// One task or more that any thread may run, in any order and at the same time. Its owner keeps it
// alive until it has finished.
struct Job {
  // scratch: scratch_bytes that no other task uses meanwhile, aligned to a cache line.
  void (*run_task)(Job&, std::ptrdiff_t task, float* scratch) noexcept = nullptr;
  // Of a submitted job: called once, by a thread of the pool, when all tasks have ended. It may
  // free the job. `next` is then the one that this thread finishes right after, if any.
  void (*finish)(Job&) noexcept = nullptr;
  std::ptrdiff_t tasks = 0;
  std::size_t scratch_bytes = 0;
  double estimated_ns = 0;  // on one thread
  // Others wait for it (ThreadPool::submit).
  bool has_dependants = false;

  std::atomic<bool> cancelled{false};      // nobody wants the result any more
  std::atomic<bool> out_of_memory{false};  // for scratch: not all tasks were run

  // The pool's own. Under its lock, unless atomic:
  std::atomic<std::ptrdiff_t> next_task{0};
  std::atomic<std::ptrdiff_t> ended_tasks{0};  // only counted where it is a submitted job
  std::atomic<int> helpers{0};                 // pool threads at work on it
  std::atomic<bool> listed{false};
  bool finished = false;  // only kept where has_dependants
  int open_seats = 0;     // pool threads that may still join
  int size_class = 0;
  Job* next = nullptr;  // in whichever list it stands
  Job* previous = nullptr;
  Job* after = nullptr;       // among whose dependants it stands
  Job* dependants = nullptr;  // by `next`, in the order in which they came
  Job* last_dependant = nullptr;

  void add_dependant(Job& job);
  void remove_dependant(Job& job);

  // How many they were.
  std::ptrdiff_t drop_tasks() {
    return std::max<std::ptrdiff_t>(tasks - next_task.exchange(tasks, std::memory_order_relaxed),
                                    0);
  }
};

class Schedule {
 public:
  static constexpr int kClasses = 5;

  // waiting: where to tell in which classes jobs wait, a bit each.
  explicit Schedule(std::atomic<unsigned>& waiting) : waiting_(waiting) {}

  static int class_of(double estimated_ns);

  // Lists a job that up to `seats` threads may join.
  void add(Job& job, int seats);
  void remove(Job& job);  // a no-op when it is not listed

  // A seat at a job, and the first task for it.
  struct Claim {
    Job* job;
    std::ptrdiff_t task;
    explicit operator bool() const { return job != nullptr; }
  };
  // Chooses among classes below `below`. A thread that is in the middle of a job of that class gets
  // nothing when it is that class's turn.
  Claim take(int below = kClasses);

  // Tells that a thread has worked for a class.
  void charge(int size_class, double ns);

  // Whether a job of a class below that is listed. Needs no lock.
  bool waiting_below(int size_class) const {
    return (waiting_.load(std::memory_order_acquire) & ((1u << size_class) - 1)) != 0;
  }
  int listed() const { return listed_; }
  int listed(int size_class) const { return queues_[static_cast<std::size_t>(size_class)].length; }

 private:
  struct Queue {
    Job* first = nullptr;
    Job* last = nullptr;
    int length = 0;
    double passed = 0;  // time this class has had, over its weight
  };

  int choose(int below);
  Claim claim_from(Queue& queue);

  std::atomic<unsigned>& waiting_;
  std::array<Queue, kClasses> queues_;
  double clock_ = 0;  // the `passed` of whichever class was chosen last; never goes back
  int listed_ = 0;
};

}  // namespace gemmconv
