// SPDX-License-Identifier: MIT
#include "threads.h"

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

namespace gemmconv::test {
namespace {

struct Count {
  std::vector<std::atomic<int>> runs;
  std::vector<std::atomic<int>> slot_in_use;
  std::atomic<int> shared_slots{0};

  Count(std::size_t tasks, std::size_t slots) : runs(tasks), slot_in_use(slots) {}
};

constexpr std::size_t kLingering = 17;

void count_task(void* context, std::ptrdiff_t task, int slot) noexcept {
  Count& count = *static_cast<Count*>(context);
  std::atomic<int>& in_use = count.slot_in_use[static_cast<std::size_t>(slot)];
  if (in_use.fetch_add(1) != 0) ++count.shared_slots;
  // Long enough for every helper to wake and hold its slot at the same time.
  if (count.runs.size() == kLingering) std::this_thread::sleep_for(std::chrono::microseconds(300));
  ++count.runs[static_cast<std::size_t>(task)];
  in_use.fetch_sub(1);
}

struct CountingJob : Job {
  std::atomic<int>* done;
};

void finish_job(Job& job) noexcept { ++*static_cast<CountingJob&>(job).done; }

}  // namespace

void threads_tests(Suite& suite) {
  ThreadPool& pool = ThreadPool::process();
  pool.set_threads(4);
  suite.test("every task runs once, no two at a time in one slot", [&] {
    for (const int threads : {1, 2, 3, 4, 16}) {
      for (const std::size_t tasks : {std::size_t{0}, std::size_t{1}, std::size_t{2},
                                      std::size_t{3}, kLingering, std::size_t{1000}}) {
        Count count(tasks, 16);
        pool.parallel_for(static_cast<std::ptrdiff_t>(tasks), threads, count_task, &count);
        for (const auto& runs : count.runs) suite.check(runs == 1, "not once");
        suite.check(count.shared_slots == 0, "shared a slot");
      }
    }
  });
  suite.test("loops from several threads at once, asleep or spinning workers", [&] {
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        for (int repeat = 0; repeat < 300; ++repeat) {
          Count count(5, 4);
          pool.parallel_for(5, 4, count_task, &count);
          for (const auto& runs : count.runs) wrong += runs != 1;
          wrong += count.shared_slots;
          if (repeat % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    suite.check(wrong == 0, "a task was lost, doubled, or shared a slot");
  });
  suite.test("jobs run, each once, also after the thread limit has changed", [&] {
    for (const int threads : {4, 1, 3}) {
      pool.set_threads(threads);
      constexpr int kJobs = 100;
      std::atomic<int> done{0};
      const auto jobs = std::make_unique<CountingJob[]>(kJobs);
      for (int i = 0; i < kJobs; ++i) {
        jobs[static_cast<std::size_t>(i)].run = finish_job;
        jobs[static_cast<std::size_t>(i)].done = &done;
        pool.submit(jobs[static_cast<std::size_t>(i)]);
      }
      for (int wait = 0; wait < 2000 && done != kJobs; ++wait) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      suite.check(done == kJobs, "a job was lost");
    }
  });
}

}  // namespace gemmconv::test
