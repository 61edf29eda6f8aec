// SPDX-License-Identifier: MIT
#include "threads/threads.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "system/buffer.h"
#include "system/cpu.h"
#include "system/system.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// How long an idle worker spins before it sleeps. A spinning worker joins in 0.1 µs, a sleeping one
// in 14 µs (p99 over 1 ms); 50 µs covers the gap between the layers of a network run in a loop.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesBetweenClockReads = 32;
// The lock is held for some ten instructions: whoever finds it taken does better to spin than to
// sleep, unless its holder lost its core.
constexpr int kLockSpins = 200;
// How long the caller of `run` spins for a helper's last task before it offers its core.
constexpr int kJoinSpins = 4096;

#if defined(__x86_64__)
void relax() { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
void relax() { asm volatile("yield"); }
#else
void relax() {}
#endif

}  // namespace

struct ThreadPool::Worker {
  int id;
  Job* job = nullptr;  // the one at hand; others may wait beneath it on the stack
  int depth = 0;       // how many; each is of a smaller class than the one before
  Buffer scratch[Schedule::kClasses]{};
  Clock::time_point mark{};  // until when its time has been measured
  std::int64_t uncharged_ns = 0;
  Clock::time_point spin_until{};  // for lack of jobs
  Job* finished = nullptr;         // by itself just now; its owner is to be told with others

  // Null when there is no memory.
  float* scratch_for(const Job& job) noexcept {
    Buffer& buffer = scratch[depth];
    if (buffer.size() >= job.scratch_bytes) return buffer.floats();
    BufferCache::process().give_back(std::move(buffer));
    try {
      buffer = BufferCache::process().take(job.scratch_bytes);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    return buffer.floats();
  }

  // A sleeping worker holds no memory.
  void release_scratch() noexcept {
    for (Buffer& buffer : scratch) BufferCache::process().give_back(std::move(buffer));
  }

  static thread_local Worker* current;  // null on threads that are not the pool's
};

thread_local ThreadPool::Worker* ThreadPool::Worker::current = nullptr;

// A worker that spins on the last free core keeps the event loop from it.
ThreadPool::ThreadPool()
    : most_spinning_(usable_cores() - 1),
      threads_(usable_cores()),
      schedule_(interruptions.waiting) {
  system::stay_loaded();
}

ThreadPool& ThreadPool::process() {
  static ThreadPool* pool = new ThreadPool;
  return *pool;
}

ThreadPool::Lock ThreadPool::acquire() {
  for (int spins = 0; spins < kLockSpins; ++spins) {
    if (mutex_.try_lock()) return Lock(mutex_, std::adopt_lock);
    relax();
  }
  return Lock(mutex_);
}

void ThreadPool::set_threads(int threads) {
  const Lock lock = acquire();
  threads_.store(std::max(threads, 1), std::memory_order_relaxed);
  wake_.notify_all();
}

bool ThreadPool::ensure_workers(int wanted) noexcept {
  if (workers_ >= std::min(wanted, threads())) return true;
  try {
    while (workers_ < std::min(wanted, threads())) {
      system::start_thread([this, id = workers_] { work(id); });
      ++workers_;
    }
  } catch (const std::system_error&) {
    // No thread to be had: fewer workers, same answer.
  } catch (const std::bad_alloc&) {
  }
  return workers_ > 0;
}

// Spinning workers see it by themselves. While there are workers beyond the limit, any of those
// that spin or sleep may be one that must not work: then all are woken.
void ThreadPool::list(Job& job, int seats, Lock& lock) {
  // To wake a thread for a second seat costs more than a small submitted job.
  const bool is_short = job.finish != nullptr && Schedule::class_of(job.estimated_ns) == 0;
  const int offers = schedule_.listed() + (is_short ? 1 : seats);
  schedule_.add(job, seats);
  const int sleepers = may_all_work() ? std::clamp(offers - spinning_, 0, sleeping_) : sleeping_;
  const bool first_wakes_others = may_all_work() && job.finish != nullptr;
  lock.unlock();
  if (sleepers == 1 || (sleepers > 1 && first_wakes_others)) {
    wake_.notify_one();
  } else if (sleepers > 1) {
    wake_.notify_all();
  }
}

// For the seats that are left, the worker that has come first wakes two more, and each of them.
// Were all woken by who submits, whose core is about to be free and is not yet, Linux would put one
// behind another and leave it there: of lone 64->64@56 on two cores one in eight took 800 us, now
// all take 450.
int ThreadPool::sleepers_to_wake(Schedule::Claim claim) const noexcept {
  if (!claim || claim.job->finish == nullptr || claim.job->size_class == 0) return 0;
  if (!may_all_work() || schedule_.listed() == 0) return 0;
  return std::clamp(std::max(claim.job->open_seats, 1) - spinning_, 0, std::min(sleeping_, 2));
}

bool ThreadPool::run(Job& job, int threads, float* scratch) noexcept {
  const int seats = static_cast<int>(std::min<std::ptrdiff_t>(job.tasks, threads)) - 1;
  if (seats > 0) {
    Lock lock = acquire();
    ensure_workers(seats);
    list(job, seats, lock);
  }
  for (;;) {
    const std::ptrdiff_t task = job.next_task.fetch_add(1, std::memory_order_relaxed);
    if (task >= job.tasks) break;
    job.run_task(job, task, scratch);
  }
  if (job.listed.load(std::memory_order_acquire)) {
    const Lock lock = acquire();
    schedule_.remove(job);
  }
  // Each helper has at most one task left to finish.
  for (int spins = 0; job.helpers.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kJoinSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
  return !job.out_of_memory.load(std::memory_order_relaxed);
}

void ThreadPool::submit(Job& job, Job* after) noexcept {
  Lock lock = acquire();
  if (!ensure_workers(threads())) {
    // Late and on the caller's own is better than never. `after` has been run like this, too.
    lock.unlock();
    Worker self{0};
    self.mark = Clock::now();
    job.helpers = 1;
    work_on(self, {&job, job.next_task.fetch_add(1)});
    report(self.finished);
    return;
  }
  if (after != nullptr && !after->finished) {
    after->add_dependant(job);
    return;
  }
  list_submitted(job, lock);
}

void ThreadPool::list_submitted(Job& job, Lock& lock) {
  list(job, static_cast<int>(std::min<std::ptrdiff_t>(job.tasks, threads())), lock);
}

bool ThreadPool::withdraw(Job& job) noexcept {
  const Lock lock = acquire();
  job.cancelled.store(true, std::memory_order_relaxed);
  if (job.after != nullptr) {
    job.after->remove_dependant(job);
    return true;
  }
  const bool begun = !job.listed.load(std::memory_order_relaxed) ||
                     job.next_task.load(std::memory_order_relaxed) > 0;
  // Those that wait for it are told when it finishes.
  if (begun || job.dependants != nullptr) return false;
  schedule_.remove(job);
  return true;
}

void ThreadPool::measure(Worker& self) noexcept {
  const Clock::time_point now = Clock::now();
  const std::int64_t ns = std::chrono::nanoseconds(now - self.mark).count();
  self.mark = now;
  self.uncharged_ns += ns;
  busy_ns_.fetch_add(ns, std::memory_order_relaxed);
}

// For what it has just done.
void ThreadPool::account(Worker& self, int size_class) noexcept {
  schedule_.charge(size_class, static_cast<double>(std::exchange(self.uncharged_ns, 0)));
  if (self.finished != nullptr) reports_.add(*std::exchange(self.finished, nullptr), self.mark);
}

// What to tell before `next`: everything, unless that is over soon and then there is more to tell.
Job* ThreadPool::due_reports(const Worker& self, Schedule::Claim next) noexcept {
  const bool is_soon_back = next && next.job->size_class <= reports_.smallest();
  const int waiting = is_soon_back ? schedule_.listed(reports_.smallest()) : 0;
  return reports_.are_due(waiting, self.mark) ? reports_.take() : nullptr;
}

void ThreadPool::report(Job* first) noexcept {
  for (Job* job = first; job != nullptr;) job->finish(*std::exchange(job, job->next));
}

bool ThreadPool::pause_task() noexcept {
  Worker* const self = Worker::current;
  if (self == nullptr) return true;  // the caller of `run`: its thread has nothing else to do
  Job& job = *self->job;
  if (schedule_.waiting_below(job.size_class)) run_smaller(*self);
  return !job.cancelled.load(std::memory_order_relaxed);
}

bool pause_task() noexcept { return ThreadPool::process().pause_task(); }

void ThreadPool::run_smaller(Worker& self) noexcept {
  Job* const job = self.job;
  const int size_class = job->size_class;
  measure(self);
  Lock lock = acquire();
  account(self, size_class);
  ++self.depth;
  for (;;) {
    const Schedule::Claim claim = schedule_.take(size_class);
    Job* const told = due_reports(self, claim);
    lock.unlock();
    report(told);
    if (!claim) break;
    const int smaller_class = claim.job->size_class;
    work_on(self, claim);
    lock = acquire();
    account(self, smaller_class);
  }
  --self.depth;
  self.job = job;
}

// The job may be gone when this returns.
void ThreadPool::work_on(Worker& self, Schedule::Claim claim) noexcept {
  Job& job = *claim.job;
  self.job = &job;
  if (claim.task == 0 && job.finish != nullptr) running_.fetch_add(1, std::memory_order_relaxed);
  float* const scratch = self.scratch_for(job);
  if (scratch == nullptr && job.scratch_bytes > 0) {
    job.out_of_memory.store(true, std::memory_order_relaxed);
  }
  std::ptrdiff_t ended = 0;
  // Until the counter is through: `drop_tasks` may move it any time.
  for (std::ptrdiff_t task = claim.task; task < job.tasks;) {
    if (job.cancelled.load(std::memory_order_relaxed) ||
        job.out_of_memory.load(std::memory_order_relaxed)) {
      ended += job.drop_tasks();
    } else {
      job.run_task(job, task, scratch);
      if (interruptions.any()) pause_task();
    }
    ++ended;
    // With the release in Schedule::claim_from: who finds no task left knows of all helpers.
    task = job.next_task.fetch_add(1, std::memory_order_acquire);
  }
  measure(self);
  leave(self, job, ended);
}

// The job may be gone when this returns: whoever ends the last task finishes it. (Not the last
// helper to leave: a thread that has lost the race for the last task, and comes to know late, would
// be a helper of a job that has been finished.)
void ThreadPool::leave(Worker& self, Job& job, std::ptrdiff_t ended) noexcept {
  if (job.finish == nullptr) {
    // Belongs to a caller of `run`, who unlists it.
    job.helpers.fetch_sub(1, std::memory_order_release);
    return;
  }
  const std::ptrdiff_t tasks = job.tasks;  // read while the job cannot have finished
  job.helpers.fetch_sub(1, std::memory_order_relaxed);
  const std::ptrdiff_t before = job.ended_tasks.fetch_add(ended, std::memory_order_acq_rel);
  if (before + ended == tasks) finish(self, job);
}

void ThreadPool::finish(Worker& self, Job& job) noexcept {
  if (job.listed.load(std::memory_order_acquire)) {
    const Lock lock = acquire();
    schedule_.remove(job);
  }
  if (job.has_dependants) {
    Lock lock = acquire();
    job.finished = true;
    while (Job* const next = job.dependants) {
      job.remove_dependant(*next);
      list_submitted(*next, lock);
      lock = acquire();
    }
  }
  running_.fetch_sub(1, std::memory_order_relaxed);
  job.next = nullptr;
  if (job.size_class <= Reports::kGathered) {
    self.finished = &job;
  } else {
    job.finish(job);
  }
}

void ThreadPool::rest(Worker& self, Lock& lock) noexcept {
  if (spinning_ < most_spinning_ && may_work(self.id)) {
    ++spinning_;
    lock.unlock();
    while (!schedule_.waiting_below(Schedule::kClasses) && Clock::now() < self.spin_until) {
      for (int i = 0; i < kPausesBetweenClockReads; ++i) {
        if (schedule_.waiting_below(Schedule::kClasses)) break;
        relax();
      }
    }
    lock = acquire();
    --spinning_;
    if (schedule_.listed() > 0 || Clock::now() < self.spin_until) return;
  }
  self.release_scratch();
  ++sleeping_;
  const auto is_wanted = [&] { return may_work(self.id) && schedule_.listed() > 0; };
  // By the clock on the wall: to wait by the steady one takes glibc 2.30.
  using Wall = std::chrono::system_clock;
  while (!wake_.wait_until(lock, Wall::now() + BufferCache::kKept, is_wanted)) {
    lock.unlock();
    const bool is_more_kept = BufferCache::process().let_go();
    lock = acquire();
    if (!is_more_kept) {
      wake_.wait(lock, is_wanted);
      break;
    }
  }
  --sleeping_;
}

void ThreadPool::work(int id) noexcept {
  Worker self{id};
  Worker::current = &self;
  Lock lock = acquire();
  for (;;) {
    const Schedule::Claim claim = may_work(id) ? schedule_.take() : Schedule::Claim{};
    Job* const told = due_reports(self, claim);
    if (told == nullptr && !claim) {
      rest(self, lock);
      continue;
    }
    const int sleepers = sleepers_to_wake(claim);
    lock.unlock();
    for (int i = 0; i < sleepers; ++i) wake_.notify_one();
    report(told);
    if (!claim) {
      lock = acquire();
      continue;
    }
    const int size_class = claim.job->size_class;
    self.mark = Clock::now();
    work_on(self, claim);
    lock = acquire();
    account(self, size_class);
    self.spin_until = self.mark + kSpin;
  }
}

}  // namespace gemmconv
