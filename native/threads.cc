// SPDX-License-Identifier: MIT
#include "threads.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <system_error>
#include <thread>

#include "cpu.h"

namespace gemmconv {
namespace {

// How long an idle worker spins before it sleeps. A spinning worker joins in 0.1 µs, a sleeping one
// in 14 µs (p99 over 1 ms); 50 µs covers the gap between the layers of a network run in a loop.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesBetweenClockReads = 32;

#if defined(__x86_64__)
void pause() { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
void pause() { asm volatile("yield"); }
#else
void pause() {}
#endif

// Signals belong to the threads that Node knows of.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

ThreadPool::ThreadPool() : threads_(usable_cores()) {}

ThreadPool& ThreadPool::process() {
  static ThreadPool* pool = new ThreadPool;
  return *pool;
}

void ThreadPool::set_threads(int threads) {
  const std::lock_guard lock(mutex_);
  threads_.store(std::max(threads, 1), std::memory_order_relaxed);
  wake_.notify_all();
}

void ThreadPool::ensure_workers(int wanted) {
  const SignalsBlocked blocked;
  while (workers_ < std::min(wanted, threads())) {
    std::thread([this, id = workers_] { worker(id); }).detach();
    ++workers_;
  }
}

void ThreadPool::Team::work(int slot) noexcept {
  for (;;) {
    const std::ptrdiff_t mine = next_task.fetch_add(1, std::memory_order_relaxed);
    if (mine >= count) return;
    task(context, mine, slot);
  }
}

void ThreadPool::parallel_for(std::ptrdiff_t count, int threads, Task task, void* context) {
  const int seats = static_cast<int>(std::min<std::ptrdiff_t>(count, threads)) - 1;
  Team team{task, context, count, seats};
  if (seats <= 0) {
    team.work(0);
    return;
  }
  int sleepers = 0;
  {
    const std::lock_guard lock(mutex_);
    try {
      ensure_workers(seats);
    } catch (const std::system_error&) {
      // No thread to be had: fewer helpers, same answer.
    }
    team.next = teams_;
    teams_ = &team;
    offers_.fetch_add(seats, std::memory_order_release);
    sleepers = sleepers_to_wake(seats);
  }
  wake(sleepers);
  team.work(0);
  {
    const std::lock_guard lock(mutex_);
    Team** link = &teams_;
    while (*link != nullptr && *link != &team) link = &(*link)->next;
    if (*link == &team) *link = team.next;
    offers_.fetch_sub(team.open_seats, std::memory_order_relaxed);
    team.open_seats = 0;
  }
  // Each helper has at most one task left to finish.
  for (int spins = 0; team.helpers.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 4096) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::submit(Job& job) {
  int sleepers = 0;
  {
    const std::lock_guard lock(mutex_);
    try {
      ensure_workers(threads());
    } catch (const std::system_error&) {
      if (workers_ == 0) throw;
    }
    job.next = nullptr;
    (first_job_ == nullptr ? first_job_ : last_job_->next) = &job;
    last_job_ = &job;
    offers_.fetch_add(1, std::memory_order_release);
    sleepers = sleepers_to_wake(1);
  }
  wake(sleepers);
}

// Workers beyond the limit sleep on the same condition: waking one of those would wake nobody.
int ThreadPool::sleepers_to_wake(int offers) const {
  return workers_ > threads() ? sleeping_ : std::min(offers, sleeping_);
}

void ThreadPool::wake(int sleepers) {
  if (sleepers == 1) wake_.notify_one();
  if (sleepers > 1) wake_.notify_all();
}

// Takes a seat in a team before a job: a started call should end before another starts.
bool ThreadPool::run_one(int id) noexcept {
  std::unique_lock lock(mutex_);
  if (!may_work(id)) return false;
  if (Team* team = teams_) {
    const int slot = team->next_slot++;
    team->helpers.fetch_add(1, std::memory_order_relaxed);
    if (--team->open_seats == 0) teams_ = team->next;
    offers_.fetch_sub(1, std::memory_order_relaxed);
    lock.unlock();
    team->work(slot);
    team->helpers.fetch_sub(1, std::memory_order_release);  // the team may be gone after this
    return true;
  }
  if (Job* job = first_job_) {
    first_job_ = job->next;
    offers_.fetch_sub(1, std::memory_order_relaxed);
    lock.unlock();
    job->run(*job);
    return true;
  }
  return false;
}

void ThreadPool::wait_for_work(int id) noexcept {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  while (may_work(id) && std::chrono::steady_clock::now() < give_up) {
    for (int i = 0; i < kPausesBetweenClockReads; ++i) {
      if (offers_.load(std::memory_order_acquire) > 0) return;
      pause();
    }
  }
  std::unique_lock lock(mutex_);
  ++sleeping_;
  wake_.wait(lock, [&] { return may_work(id) && offers_.load(std::memory_order_relaxed) > 0; });
  --sleeping_;
}

void ThreadPool::worker(int id) noexcept {
  for (;;) {
    if (!run_one(id)) wait_for_work(id);
  }
}

}  // namespace gemmconv
