// SPDX-License-Identifier: MIT
// The process's one thread pool. It knows nothing of convolution: it runs tasks of a fork-join loop
// (`parallel_for`) and whole jobs (`submit`). Workers are made when first needed, spin briefly for
// more work, then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace gemmconv {

// A unit of asynchronous work. The owner keeps it alive until `run` has been called.
struct Job {
  void (*run)(Job&) noexcept;
  Job* next = nullptr;
};

class ThreadPool {
 public:
  // Calls run for one task; `slot` < threads is not shared by tasks that run at the same time.
  using Task = void (*)(void* context, std::ptrdiff_t task, int slot) noexcept;

  // Never destroyed: its threads may outlive static destructors.
  static ThreadPool& process();

  // How many threads may compute; a worker beyond that stays asleep.
  void set_threads(int threads);
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  // Runs tasks [0, count) on the calling thread and on up to threads - 1 idle workers, and returns
  // when all are done. Works with no worker at all: the caller takes every task that nobody has.
  void parallel_for(std::ptrdiff_t count, int threads, Task task, void* context);

  // Queues a job for a worker. Throws std::system_error when there is no worker to run it.
  void submit(Job& job);

 private:
  // A parallel_for in progress; lives on its caller's stack.
  struct Team {
    Task task;
    void* context;
    std::ptrdiff_t count;
    int open_seats;     // helpers that may still join; under mutex_
    int next_slot = 1;  // under mutex_
    Team* next = nullptr;
    std::atomic<std::ptrdiff_t> next_task{0};
    std::atomic<int> helpers{0};

    void work(int slot) noexcept;
  };

  ThreadPool();
  void ensure_workers(int wanted);  // under mutex_
  void worker(int id) noexcept;
  bool run_one(int id) noexcept;
  bool may_work(int id) const { return id < threads(); }
  void wait_for_work(int id) noexcept;
  int sleepers_to_wake(int offers) const;  // under mutex_
  void wake(int sleepers);

  std::atomic<int> threads_;
  // Queued jobs plus open seats: what a spinning worker watches without taking the lock.
  std::atomic<int> offers_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  int workers_ = 0;
  int sleeping_ = 0;
  Team* teams_ = nullptr;
  Job* first_job_ = nullptr;
  Job* last_job_ = nullptr;
};

}  // namespace gemmconv
