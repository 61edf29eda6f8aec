// SPDX-License-Identifier: MIT
// Threads that do the same at the same time, and the rate of all together.
#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

namespace gemmconv::bench {

// Each thread makes itself a sample by `prepare()`; then all run theirs, again and again, for about
// `seconds`. A sample returns how much it did. The most that all threads together did, in 1e9 a
// second, between the moment when all were ready and that when the last was done.
template <typename Prepare>
double measure_together(int threads, double seconds, Prepare prepare) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> done(static_cast<std::size_t>(threads));
  double best = 0;
  bool is_over = false;
  Clock::time_point begin;
  const auto start = [&]() noexcept { begin = Clock::now(); };
  const Clock::time_point first = Clock::now();
  const auto stop = [&]() noexcept {
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    double sum = 0;
    for (const double each : done) sum += each;
    best = std::max(best, sum / elapsed.count() * 1e-9);
    is_over = std::chrono::duration<double>(Clock::now() - first).count() > seconds;
  };
  std::barrier ready(threads, start);
  std::barrier finished(threads, stop);
  const auto work = [&](std::size_t thread) {
    const auto sample = prepare();
    do {
      ready.arrive_and_wait();
      done[thread] = sample();
      finished.arrive_and_wait();
    } while (!is_over);
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < done.size(); ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& other : others) other.join();
  return best;
}

}  // namespace gemmconv::bench
