// SPDX-License-Identifier: MIT
// The process's one thread pool. It knows jobs and their tasks (schedule.h), nothing of
// convolution. A thread that calls `run` works on its job itself, and idle workers join; `submit`
// leaves it to the workers. They are made when first needed, spin briefly for more work, then
// sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "threads/reports.h"
#include "threads/schedule.h"

namespace gemmconv {

class ThreadPool {
 public:
  // Never destroyed: its threads may outlive static destructors.
  static ThreadPool& process();

  // How many workers may compute, and threads together on one `run`; a worker beyond that sleeps.
  void set_threads(int threads);
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  // Runs all tasks on this thread and up to threads - 1 idle workers, and returns when they are
  // done. Works with no worker at all: the caller takes every task that nobody has. False when a
  // worker found no memory for its scratch: then the job is unfinished.
  bool run(Job& job, int threads, float* scratch) noexcept;

  // Leaves a job to the workers; where there is none, and none to be had, runs it at once. With
  // `after`, a job that has not been freed yet, it waits for that one to finish.
  void submit(Job& job, Job* after = nullptr) noexcept;

  // Takes a submitted job back. True when no thread had begun it, and no other waits for it: it
  // will not finish, and is the caller's again. Otherwise it finishes soon, `cancelled`.
  bool withdraw(Job& job) noexcept;

  // Nanoseconds that all workers together have spent on jobs.
  std::int64_t busy_ns() const { return busy_ns_.load(std::memory_order_relaxed); }

  // Submitted jobs that a worker has begun and not finished.
  int running() const { return running_.load(std::memory_order_relaxed); }

  // Runs smaller jobs that wait, in the middle of a task of this thread. False when that task is no
  // longer wanted.
  bool pause_task() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;
  struct Worker;

  ThreadPool();
  Lock acquire();
  bool ensure_workers(int wanted) noexcept;    // under mutex_; false when there is none
  void list(Job& job, int seats, Lock& lock);  // gives the lock up
  void list_submitted(Job& job, Lock& lock);   // gives the lock up
  void work(int id) noexcept;
  void work_on(Worker& self, Schedule::Claim claim) noexcept;
  void leave(Worker& self, Job& job, std::ptrdiff_t ended) noexcept;
  void finish(Worker& self, Job& job) noexcept;
  void run_smaller(Worker& self) noexcept;
  void measure(Worker& self) noexcept;
  void account(Worker& self, int size_class) noexcept;                  // under mutex_
  Job* due_reports(const Worker& self, Schedule::Claim next) noexcept;  // under mutex_
  static void report(Job* first) noexcept;
  bool may_work(int id) const { return id < threads(); }
  bool may_all_work() const { return workers_ <= threads(); }  // under mutex_
  int sleepers_to_wake(Schedule::Claim claim) const noexcept;  // under mutex_
  void rest(Worker& self, Lock& lock) noexcept;

  const int most_spinning_;
  std::atomic<int> threads_;
  std::atomic<std::int64_t> busy_ns_{0};
  std::atomic<int> running_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  Schedule schedule_;
  Reports reports_;
  int workers_ = 0;
  int spinning_ = 0;
  int sleeping_ = 0;
};

}  // namespace gemmconv
