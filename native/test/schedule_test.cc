// SPDX-License-Identifier: MIT
#include "threads/schedule.h"

#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "threads/reports.h"

namespace gemmconv::test {
namespace {

constexpr double kSmallNs = 10e3;
constexpr double kMediumNs = 100e3;
constexpr double kHugeNs = 100e6;
constexpr double kSliceNs = 50e3;

struct Bench {
  std::atomic<unsigned> waiting{0};
  Schedule schedule{waiting};
  std::vector<std::unique_ptr<Job>> jobs;

  Job& add(double ns, std::ptrdiff_t tasks, int seats = 8) {
    Job& job = *jobs.emplace_back(std::make_unique<Job>());
    job.tasks = tasks;
    job.estimated_ns = ns;
    schedule.add(job, seats);
    return job;
  }
};

// A worker in the middle of a huge job, as the pool does it: pauses every slice, and runs small
// jobs, of which there are always some. What share of the time remains for the huge one.
double share_of_huge_job(int slices) {
  Bench bench;
  const Job& huge = bench.add(kHugeNs, 1);
  bench.schedule.take();
  double huge_ns = 0, small_ns = 0;
  for (int i = 0; i < slices; ++i) {
    huge_ns += kSliceNs;
    bench.schedule.charge(huge.size_class, kSliceNs);
    for (;;) {
      bench.add(kSmallNs, 1);
      const Schedule::Claim claim = bench.schedule.take(huge.size_class);
      if (!claim) break;
      small_ns += kSmallNs;
      bench.schedule.charge(claim.job->size_class, kSmallNs);
    }
  }
  return huge_ns / (huge_ns + small_ns);
}

// How often another thread, which looks all the time, finds a job's task taken and no helper. The
// window is two instructions wide, but the thread that looks may take the cache line in between:
// with them exchanged, half of these rounds found it in seven of ten runs on two busy cores.
int uncounted_helpers(int rounds) {
  std::atomic<unsigned> waiting{0};
  Schedule schedule{waiting};
  Job job;
  job.tasks = 1;
  job.estimated_ns = kHugeNs;
  std::atomic<int> round{0};  // even when the job is as the schedule made it
  std::atomic<int> found{0};
  std::atomic<bool> is_looking{false};
  std::thread observer([&] {
    is_looking = true;
    for (int begun = 0; begun < 2 * rounds; begun = round) {
      const bool is_taken = job.next_task > 0;
      const bool is_counted = job.helpers > 0;
      if (begun % 2 == 0 && is_taken && !is_counted && round == begun) ++found;
    }
  });
  while (!is_looking) std::this_thread::yield();
  for (int i = 0; i < rounds; ++i) {
    ++round;
    job.next_task = 0;
    job.helpers = 0;
    ++round;
    // Not in step with the thread that looks.
    for (int pause = i * 7 % 41; pause > 0; --pause) {
      if (round < 0) return -1;
    }
    schedule.add(job, 1);
    schedule.take();
  }
  observer.join();
  return found;
}

// The other thread may have no core of its own.
void wait_until(const std::atomic<int>& reached, int value) {
  for (int spins = 0; reached != value; ++spins) {
    if (spins % 4096 == 4095) std::this_thread::yield();
  }
}

// How often a thread gets a seat at a job whose last task another takes at the same time, and no
// task with it: the other may have finished the job. In ten thousand rounds and more of 300000,
// when the counter was looked at before it was incremented, and not after.
int seats_without_task(int rounds) {
  std::atomic<unsigned> waiting{0};
  Schedule schedule{waiting};
  Job job;
  job.tasks = 1;
  job.estimated_ns = kHugeNs;
  std::atomic<int> begun{0}, ended{0};
  std::thread other([&] {
    for (int i = 1; i <= rounds; ++i) {
      wait_until(begun, i);
      job.next_task.fetch_add(1);
      ended = i;
    }
  });
  int found = 0;
  for (int i = 1; i <= rounds; ++i) {
    job.next_task = 0;
    schedule.add(job, 1);
    begun = i;
    for (int pause = i * 7 % 41; pause > 0; --pause) {
      if (begun < 0) return -1;
    }
    const Schedule::Claim claim = schedule.take();
    if (claim && claim.task >= job.tasks) ++found;
    if (!claim && job.helpers != 0) ++found;
    job.helpers = 0;
    wait_until(ended, i);
  }
  other.join();
  return found;
}

void seat_tests(Suite& suite) {
  suite.test("whoever finds a task taken finds its helper counted", [&] {
    suite.check(uncounted_helpers(suite.repeats(4000000)) == 0,
                "a job may finish before its last task");
  });
  suite.test("whoever gets a seat gets a task", [&] {
    suite.check(seats_without_task(suite.repeats(300000)) == 0,
                "a job may be used when it has been freed");
  });
  suite.test("size classes", [&] {
    suite.check(Schedule::class_of(0) == 0, "nothing");
    suite.check(Schedule::class_of(49e3) == 0 && Schedule::class_of(50e3) == 1, "bound");
    suite.check(Schedule::class_of(1e12) == Schedule::kClasses - 1, "largest");
  });
  suite.test("the first comes first, with as many threads as want to join", [&] {
    Bench bench;
    Job& first = bench.add(kHugeNs, 3);
    Job& second = bench.add(kHugeNs, 2);
    for (const auto& [job, task] : {std::pair{&first, 0}, {&first, 1}, {&first, 2}, {&second, 0}}) {
      const Schedule::Claim claim = bench.schedule.take();
      suite.check(claim.job == job && claim.task == task, "out of order");
    }
  });
  suite.test("no more threads than seats", [&] {
    Bench bench;
    Job& first = bench.add(kHugeNs, 9, 2);
    suite.check(bench.schedule.take().job == &first && bench.schedule.take().job == &first, "two");
    suite.check(!bench.schedule.take() && bench.waiting == 0, "a third");
  });
  suite.test("small jobs go side by side, then share threads; large ones share at once", [&] {
    for (const double ns : {kSmallNs, kMediumNs, kHugeNs}) {
      Bench bench;
      Job& first = bench.add(ns, 4);
      Job& second = bench.add(ns, 4);
      suite.check(bench.schedule.take().job == &first, "first");
      suite.check(bench.schedule.take().job == (ns == kHugeNs ? &first : &second), "second");
      suite.check(bench.schedule.take().job == &first, "a thread has nothing to do");
    }
  });
  suite.test("jobs whose tasks are gone, or that were removed, are passed over", [&] {
    Bench bench;
    bench.add(kHugeNs, 5).drop_tasks();
    Job& removed = bench.add(kHugeNs, 5);
    Job& last = bench.add(kHugeNs, 5);
    bench.schedule.remove(removed);
    bench.schedule.remove(removed);
    suite.check(bench.schedule.take().job == &last, "wrong job");
    bench.schedule.remove(last);
    suite.check(!bench.schedule.take() && bench.waiting == 0 && bench.schedule.listed() == 0,
                "more");
  });
}

void report_tests(Suite& suite) {
  suite.test("reports are due when no more waits than there is to tell, or after a while", [&] {
    const Reports::Time begin{};
    Reports reports;
    Job jobs[3];
    suite.check(!reports.are_due(0, begin) && reports.take() == nullptr, "of nothing");
    reports.add(jobs[0], begin);
    suite.check(reports.are_due(0, begin) && reports.are_due(1, begin), "nothing else to do");
    suite.check(!reports.are_due(2, begin), "not gathered");
    reports.add(jobs[1], begin + std::chrono::microseconds(60));
    suite.check(reports.are_due(2, begin) && !reports.are_due(3, begin), "two for two");
    suite.check(reports.are_due(3, begin + std::chrono::microseconds(101)), "the oldest waits");
    reports.add(jobs[2], begin);
    const Job* const first = reports.take();
    suite.check(first == &jobs[0] && first->next == &jobs[1] && first->next->next == &jobs[2] &&
                    jobs[2].next == nullptr,
                "order");
    suite.check(reports.empty() && !reports.are_due(0, begin), "told twice");
    reports.add(jobs[0], begin + std::chrono::microseconds(200));
    suite.check(!reports.are_due(2, begin + std::chrono::microseconds(250)), "an old age kept");
  });
  suite.test("reports of larger jobs wait longer, but not for their sake a smaller one", [&] {
    const Reports::Time begin{};
    Reports reports;
    Job small, large;
    large.size_class = Reports::kGathered;
    reports.add(large, begin);
    suite.check(reports.smallest() == Reports::kGathered, "smallest");
    suite.check(!reports.are_due(2, begin + std::chrono::microseconds(399)), "too early");
    suite.check(reports.are_due(2, begin + std::chrono::microseconds(401)), "too late");
    reports.add(small, begin);
    suite.check(reports.smallest() == 0, "smallest of two");
    suite.check(reports.are_due(3, begin + std::chrono::microseconds(101)), "the small one waits");
    reports.take();
    reports.add(large, begin);
    suite.check(reports.smallest() == Reports::kGathered, "one that was told of");
  });
}

void sharing_tests(Suite& suite) {
  suite.test("a small job goes ahead of large ones, and interrupts them", [&] {
    Bench bench;
    Job& huge = bench.add(kHugeNs, 9);
    Job& small = bench.add(kSmallNs, 1);
    suite.check(bench.schedule.take().job == &small, "waits behind a huge one");
    suite.check(bench.schedule.take().job == &huge, "huge");
    suite.check(!bench.schedule.waiting_below(huge.size_class), "interrupted by nothing");
    bench.schedule.charge(huge.size_class, 1e9);
    Job& next = bench.add(kSmallNs, 1);
    suite.check(bench.schedule.waiting_below(huge.size_class), "not seen");
    suite.check(!bench.schedule.waiting_below(next.size_class), "interrupts its equals");
    suite.check(bench.schedule.take(huge.size_class).job == &next, "waits for a huge one");
    suite.check(!bench.schedule.take(huge.size_class), "a job interrupts its equals");
  });
  suite.test("jobs listed by class", [&] {
    Bench bench;
    bench.add(kSmallNs, 1);
    bench.add(kSmallNs, 1);
    Job& huge = bench.add(kHugeNs, 1);
    const Schedule& schedule = bench.schedule;
    suite.check(schedule.listed(0) == 2 && schedule.listed(huge.size_class) == 1, "added");
    bench.schedule.take();
    bench.schedule.remove(huge);
    suite.check(schedule.listed(0) == 1 && schedule.listed(huge.size_class) == 0, "gone");
  });
  suite.test("a flood of small jobs leaves a huge one its share", [&] {
    const double share = share_of_huge_job(1000);
    suite.check(share > 0.04 && share < 0.1, "share " + std::to_string(share));
  });
}

}  // namespace

void schedule_tests(Suite& suite) {
  seat_tests(suite);
  sharing_tests(suite);
  report_tests(suite);
}

}  // namespace gemmconv::test
