// SPDX-License-Identifier: MIT
#include "threads/schedule.h"

#include <algorithm>

namespace gemmconv {
namespace {

// Upper bounds of all classes but the last. Eightfold: within a class a job waits for others at
// most that much larger than itself, and five classes reach from a layer of a small network (10 µs)
// to a batch of the largest (over 100 ms).
constexpr double kLargestNs[] = {50e3, 400e3, 3.2e6, 25.6e6};
// Shares of the threads' time when all classes have jobs waiting. The last is what a flood of small
// jobs leaves a huge one.
constexpr double kWeights[Schedule::kClasses] = {16, 8, 4, 2, 1};
// A class that had nothing to do while another worked for long may catch up on no more than this.
constexpr double kCreditNs = 1e6;
// Jobs up to this class go each on one thread, while there are as many as threads: two on one would
// wait for each other. Of class 0 the second thread would come too late; of class 1 it gains 2 to 8
// % of the rate (32 pending 64->64@14, 32->32@28, 1x1 512->512@7; Zen 4, two cores). Larger ones
// gain nothing, or lose where there are many weights (3x3 512->512@7: 11 %), which threads then
// share.
constexpr int kSideBySide = 1;

}  // namespace

void Job::add_dependant(Job& job) {
  job.after = this;
  job.next = nullptr;
  job.previous = last_dependant;
  (last_dependant == nullptr ? dependants : last_dependant->next) = &job;
  last_dependant = &job;
}

void Job::remove_dependant(Job& job) {
  job.after = nullptr;
  (job.previous == nullptr ? dependants : job.previous->next) = job.next;
  (job.next == nullptr ? last_dependant : job.next->previous) = job.previous;
}

int Schedule::class_of(double estimated_ns) {
  const double* const bound = std::ranges::upper_bound(kLargestNs, estimated_ns);
  return static_cast<int>(bound - kLargestNs);
}

void Schedule::add(Job& job, int seats) {
  job.open_seats = seats;
  job.size_class = class_of(job.estimated_ns);
  Queue& queue = queues_[static_cast<std::size_t>(job.size_class)];
  // Time in which it had nothing to do gives a class no credit.
  if (queue.first == nullptr) queue.passed = std::max(queue.passed, clock_);
  job.next = nullptr;
  job.previous = queue.last;
  (queue.last == nullptr ? queue.first : queue.last->next) = &job;
  queue.last = &job;
  ++queue.length;
  ++listed_;
  job.listed.store(true, std::memory_order_relaxed);
  waiting_.fetch_or(1u << job.size_class, std::memory_order_release);
}

// The job may be gone once it is no longer listed: that store comes last.
void Schedule::remove(Job& job) {
  if (!job.listed.load(std::memory_order_relaxed)) return;
  Queue& queue = queues_[static_cast<std::size_t>(job.size_class)];
  (job.previous == nullptr ? queue.first : job.previous->next) = job.next;
  (job.next == nullptr ? queue.last : job.next->previous) = job.previous;
  --queue.length;
  --listed_;
  if (queue.first == nullptr)
    waiting_.fetch_and(~(1u << job.size_class), std::memory_order_relaxed);
  job.listed.store(false, std::memory_order_release);
}

int Schedule::choose(int below) {
  int best = below;
  for (int c = below - 1; c >= 0; --c) {
    Queue& queue = queues_[static_cast<std::size_t>(c)];
    if (queue.first == nullptr) continue;
    if (below < kClasses) {
      queue.passed =
          std::max(queue.passed, queues_[static_cast<std::size_t>(below)].passed - kCreditNs);
    }
    if (best == kClasses || queue.passed <= queues_[static_cast<std::size_t>(best)].passed)
      best = c;
  }
  return best;
}

Schedule::Claim Schedule::claim_from(Queue& queue) {
  Job* job = queue.first;
  if (job->size_class <= kSideBySide) {
    // Those that have threads are at the front, and no more than there are threads.
    while (job->next != nullptr && job->helpers.load(std::memory_order_relaxed) > 0)
      job = job->next;
    if (job->helpers.load(std::memory_order_relaxed) > 0) job = queue.first;
  }
  // In this order, for other threads, too: whoever finds the tasks gone and no helper may free the
  // job of a caller of `run`.
  job->helpers.fetch_add(1, std::memory_order_relaxed);
  const std::ptrdiff_t task = job->next_task.fetch_add(1, std::memory_order_release);
  if (task >= job->tasks) {
    // Others have been faster, and may wait for nothing but the lock to free the job.
    job->helpers.fetch_sub(1, std::memory_order_relaxed);
    remove(*job);
    return {nullptr, 0};
  }
  if (--job->open_seats == 0 || task + 1 >= job->tasks) remove(*job);
  return {job, task};
}

Schedule::Claim Schedule::take(int below) {
  for (int c = choose(below); c != below; c = choose(below)) {
    Queue& queue = queues_[static_cast<std::size_t>(c)];
    clock_ = std::max(clock_, queue.passed);
    if (const Claim claim = claim_from(queue)) return claim;
  }
  return {nullptr, 0};
}

void Schedule::charge(int size_class, double ns) {
  const auto c = static_cast<std::size_t>(size_class);
  queues_[c].passed += ns / kWeights[c];
}

}  // namespace gemmconv
