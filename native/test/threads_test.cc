// SPDX-License-Identifier: MIT
#include "threads/threads.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "threads/slice.h"

namespace gemmconv::test {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Sanitizers end the process when memory is not to be had.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kCanRunOutOfMemory = false;
#else
constexpr bool kCanRunOutOfMemory = true;
#endif

constexpr std::size_t kLingering = 17;

// Counts how often each task ran, and marks its scratch to see that nobody else writes there.
struct CountingJob : Job {
  std::vector<std::atomic<int>> runs;
  std::atomic<int> shared_scratch{0};
  std::chrono::nanoseconds busy{0};

  explicit CountingJob(std::size_t count, std::size_t bytes = 64) : runs(count) {
    tasks = static_cast<std::ptrdiff_t>(count);
    scratch_bytes = bytes;
    run_task = [](Job& job, std::ptrdiff_t task, float* scratch) noexcept {
      static_cast<CountingJob&>(job).count(task, scratch);
    };
  }

  void count(std::ptrdiff_t task, float* scratch) {
    const float mark = static_cast<float>(task);
    *scratch = mark;
    // Long enough for every helper to wake and be at work at the same time.
    if (runs.size() == kLingering) std::this_thread::sleep_for(microseconds(300));
    // And for others to be submitted meanwhile.
    const auto end = std::chrono::steady_clock::now() + busy;
    do {
      end_slice();
    } while (std::chrono::steady_clock::now() < end);
    if (*scratch != mark) ++shared_scratch;
    ++runs[static_cast<std::size_t>(task)];
  }

  bool is_right() const {
    for (const auto& r : runs) {
      if (r != 1) return false;
    }
    return shared_scratch == 0;
  }
};

// Tells when it has finished.
struct SubmittedJob : CountingJob {
  std::atomic<bool> is_finished{false};
  bool was_right = false;  // when it finished

  explicit SubmittedJob(std::size_t count, double ns = 0) : CountingJob(count) {
    estimated_ns = ns;
    finish = [](Job& job) noexcept {
      SubmittedJob& self = static_cast<SubmittedJob&>(job);
      self.was_right = self.is_right();
      self.is_finished = true;
    };
  }
};

template <typename Condition>
bool eventually(Condition holds) {
  for (int wait = 0; wait < 5000 && !holds(); ++wait) std::this_thread::sleep_for(milliseconds(1));
  return holds();
}

// Occupies a worker until it is told to end, and pauses again and again.
struct LongJob : Job {
  std::atomic<int> begun{0};
  std::atomic<bool> stop{false};
  std::atomic<bool> was_cancelled{false};
  std::atomic<bool> is_finished{false};

  LongJob(std::ptrdiff_t count, double ns) {
    tasks = count;
    estimated_ns = ns;
    run_task = [](Job& job, std::ptrdiff_t, float*) noexcept {
      LongJob& self = static_cast<LongJob&>(job);
      ++self.begun;
      while (!self.stop) {
        std::this_thread::sleep_for(microseconds(20));
        if (end_slice()) continue;
        self.was_cancelled = true;
        return;
      }
    };
    finish = [](Job& job) noexcept { static_cast<LongJob&>(job).is_finished = true; };
  }
};

constexpr double kHuge = 1e9;

// Does nothing, and counts how often it has finished: its owner would have freed it the first time.
struct EndingJob : Job {
  std::atomic<int> ends{0};

  explicit EndingJob(double ns) {
    tasks = 2;
    estimated_ns = ns;
    run_task = [](Job&, std::ptrdiff_t, float*) noexcept {};
    finish = [](Job& job) noexcept { ++static_cast<EndingJob&>(job).ends; };
  }
};

void run_tests(Suite& suite, ThreadPool& pool) {
  suite.test("every task runs once, no two at a time in one scratch", [&] {
    for (const int threads : {1, 2, 3, 4, 16}) {
      for (const std::size_t tasks : {std::size_t{0}, std::size_t{1}, std::size_t{2},
                                      std::size_t{3}, kLingering, std::size_t{1000}}) {
        CountingJob job(tasks);
        float scratch[16];
        suite.check(pool.run(job, threads, scratch), "out of memory");
        suite.check(job.is_right(), "not once, or shared scratch");
      }
    }
  });
  suite.test("loops from several threads at once, asleep or spinning workers", [&] {
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        for (int repeat = 0; repeat < suite.repeats(300); ++repeat) {
          CountingJob job(5);
          float scratch[16];
          pool.run(job, 4, scratch);
          wrong += !job.is_right();
          if (repeat % 100 == 0) std::this_thread::sleep_for(milliseconds(2));
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    suite.check(wrong == 0, "a task was lost, doubled, or shared its scratch");
  });
  suite.test("a worker without memory for scratch says so", [&] {
    if (!kCanRunOutOfMemory) return;
    CountingJob job(kLingering, std::size_t{1} << 60);
    float scratch[16];
    const bool done = pool.run(job, 4, scratch);
    suite.check(done == job.is_right(), "unfinished, but called done");
    SubmittedJob submitted(3);
    submitted.scratch_bytes = std::size_t{1} << 60;
    pool.submit(submitted);
    suite.check(eventually([&] { return submitted.is_finished.load(); }), "never finished");
    suite.check(submitted.out_of_memory, "not told");
  });
}

void submit_tests(Suite& suite, ThreadPool& pool) {
  suite.test("submitted jobs of all sizes run, also after the thread limit has changed", [&] {
    for (const int threads : {4, 1, 3}) {
      pool.set_threads(threads);
      std::vector<std::unique_ptr<SubmittedJob>> jobs;
      for (int i = 0; i < 2000; ++i) {
        const double ns = i % 3 == 0 ? 1e3 : i % 3 == 1 ? 1e6 : kHuge;
        jobs.push_back(std::make_unique<SubmittedJob>(1 + i % 7, ns));
        jobs.back()->busy = microseconds(i % 3);
        pool.submit(*jobs.back());
      }
      for (const auto& job : jobs) {
        suite.check(eventually([&] { return job->is_finished.load(); }), "a job was lost");
        suite.check(job->was_right,
                    "finished with a task lost, doubled, not done, or in shared scratch");
      }
    }
    pool.set_threads(4);
  });
  suite.test("a job is not left to a worker that has just become one too many", [&] {
    for (int i = 0; i < suite.repeats(300); ++i) {
      pool.set_threads(4);
      SubmittedJob before(4, kHuge);
      before.busy = microseconds(10);
      pool.submit(before);
      while (!before.is_finished) {
      }
      pool.set_threads(1);  // some of the others spin
      SubmittedJob job(1);
      pool.submit(job);
      suite.check(eventually([&] { return job.is_finished.load(); }), "a job was lost");
      if (!job.is_finished) pool.set_threads(4);
      while (!job.is_finished) {
      }
    }
    pool.set_threads(4);
  });
  suite.test("a job that others join at its very end is finished by the last of them", [&] {
    const int rounds = suite.repeats(30000);
    int wrong = 0;
    for (int i = 0; i < rounds && wrong == 0; ++i) {
      SubmittedJob job(2 + static_cast<std::size_t>(i % 3), kHuge);
      job.busy = std::chrono::nanoseconds(i % 1500);
      pool.submit(job);
      while (!job.is_finished) {
      }
      wrong += !job.was_right;
    }
    suite.check(wrong == 0, "finished too early");
  });
  // A thread on its way to the last task finds that another has just run it, and left. When it was
  // counted among those at work before it looked, both were the last.
}

void order_tests(Suite& suite, ThreadPool& pool) {
  suite.test("a job finishes once", [&] {
    const int count = suite.repeats(200000);
    for (const double ns : {1e3, kHuge}) {
      std::vector<std::unique_ptr<EndingJob>> jobs;
      for (int i = 0; i < count; ++i) {
        jobs.push_back(std::make_unique<EndingJob>(ns));
        pool.submit(*jobs.back());
      }
      int lost = 0, repeated = 0;
      for (const auto& job : jobs) {
        lost += !eventually([&] { return job->ends > 0; });
      }
      std::this_thread::sleep_for(milliseconds(5));
      for (const auto& job : jobs) repeated += job->ends > 1;
      suite.check(lost == 0, "a job was lost");
      suite.check(repeated == 0, std::to_string(repeated) + " have finished twice");
    }
  });
  suite.test("a small job runs in a pause of large ones that hold every worker", [&] {
    LongJob large(8, kHuge);
    pool.submit(large);
    suite.check(eventually([&] { return large.begun == 4; }), "not on every worker");
    SubmittedJob small(2, 1e3);
    pool.submit(small);
    suite.check(eventually([&] { return small.is_finished.load(); }), "starved");
    SubmittedJob equal(1, kHuge);
    pool.submit(equal);
    std::this_thread::sleep_for(milliseconds(20));
    suite.check(!equal.is_finished, "an equal one interrupted it");
    CountingJob mine(3);
    float scratch[16];
    suite.check(pool.run(mine, 4, scratch) && mine.is_right(), "run waits for workers");
    large.stop = true;
    suite.check(eventually([&] { return equal.is_finished && large.is_finished; }), "lost");
  });
  suite.test("a job waits for the one it depends on", [&] {
    LongJob first(1, 1e3);
    first.has_dependants = true;
    pool.submit(first);
    SubmittedJob second(3), third(1);
    pool.submit(second, &first);
    pool.submit(third, &first);
    std::this_thread::sleep_for(milliseconds(20));
    suite.check(!second.is_finished && !third.is_finished, "did not wait");
    first.stop = true;
    suite.check(eventually([&] { return second.is_finished && third.is_finished; }), "lost");
    SubmittedJob late(1);
    pool.submit(late, &first);
    suite.check(eventually([&] { return late.is_finished.load(); }), "waits for what is over");
  });
}

void dependants_tests(Suite& suite, ThreadPool& pool) {
  suite.test("a job whose dependency was withdrawn is not left waiting", [&] {
    LongJob running(8, kHuge);
    pool.submit(running);
    suite.check(eventually([&] { return running.begun == 4; }), "not on every worker");
    SubmittedJob first(3, kHuge), second(3, kHuge), third(3, kHuge);
    first.has_dependants = true;
    pool.submit(first);
    pool.submit(second, &first);
    pool.submit(third, &first);
    suite.check(!pool.withdraw(first), "gone, with those that wait for it");
    SubmittedJob other(3, kHuge), behind(3, kHuge);
    other.has_dependants = true;
    pool.submit(other);
    pool.submit(behind, &other);
    suite.check(pool.withdraw(behind) && pool.withdraw(other), "kept for nobody");
    running.stop = true;
    suite.check(eventually([&] { return third.is_finished && second.is_finished; }), "lost");
    suite.check(first.is_finished && first.runs[0] == 0, "ran after all");
    suite.check(second.was_right && third.was_right, "did not run");
    suite.check(other.runs[0] == 0 && behind.runs[0] == 0, "ran for nobody");
    suite.check(eventually([&] { return running.is_finished.load(); }), "never ends");
  });
  suite.test("withdrawn while they wait for another: at once, the others wait on", [&] {
    for (int which = 0; which < 3; ++which) {
      LongJob first(1, kHuge);
      first.has_dependants = true;
      pool.submit(first);
      SubmittedJob jobs[3]{SubmittedJob(3), SubmittedJob(3), SubmittedJob(3)};
      for (SubmittedJob& job : jobs) pool.submit(job, &first);
      suite.check(pool.withdraw(jobs[which]), "still there");
      SubmittedJob late(3);
      pool.submit(late, &first);
      first.stop = true;
      suite.check(eventually([&] { return late.is_finished.load(); }), "lost");
      for (int i = 0; i < 3; ++i) {
        if (i == which) continue;
        suite.check(eventually([&] { return jobs[i].is_finished.load(); }), "lost, too");
      }
      suite.check(jobs[which].runs[0] == 0 && !jobs[which].is_finished, "ran after all");
      suite.check(eventually([&] { return first.is_finished.load(); }), "never ends");
    }
  });
}

void withdraw_tests(Suite& suite, ThreadPool& pool) {
  suite.test("withdrawn: queued jobs at once, running ones at their next pause", [&] {
    LongJob running(8, kHuge);
    pool.submit(running);
    suite.check(eventually([&] { return running.begun == 4; }), "not on every worker");
    LongJob queued(8, kHuge);
    pool.submit(queued);
    suite.check(pool.withdraw(queued), "still there");
    {
      const Interruption interruption;
      suite.check(!pool.withdraw(running), "ran on");
      suite.check(eventually([&] { return running.is_finished.load(); }), "did not end");
    }
    suite.check(running.was_cancelled && running.begun == 4, "ran tasks nobody wants");
    std::this_thread::sleep_for(milliseconds(5));
    suite.check(!queued.is_finished && queued.begun == 0, "ran after all");
  });
  suite.test("withdrawing at random, under load", [&] {
    Random random(8);
    for (int round = 0; round < 30; ++round) {
      std::vector<std::unique_ptr<SubmittedJob>> jobs;
      std::vector<bool> gone;
      for (int i = 0; i < 100; ++i) {
        jobs.push_back(
            std::make_unique<SubmittedJob>(1 + random.below(5), random.below(2) == 0 ? 0 : 1e6));
        pool.submit(*jobs.back());
        gone.push_back(false);
        const auto victim = static_cast<std::size_t>(random.below(i + 1));
        if (!gone[victim] && random.below(3) == 0) gone[victim] = pool.withdraw(*jobs[victim]);
      }
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (gone[i]) {
          suite.check(jobs[i]->runs[0] == 0, "ran after all");
        } else {
          suite.check(eventually([&] { return jobs[i]->is_finished.load(); }), "a job was lost");
        }
      }
    }
  });
}

}  // namespace

void threads_tests(Suite& suite) {
  ThreadPool& pool = ThreadPool::process();
  pool.set_threads(4);
  run_tests(suite, pool);
  submit_tests(suite, pool);
  order_tests(suite, pool);
  dependants_tests(suite, pool);
  withdraw_tests(suite, pool);
  suite.check(pool.running() == 0, "jobs still count as running");
}

}  // namespace gemmconv::test
