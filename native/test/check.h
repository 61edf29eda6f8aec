// SPDX-License-Identifier: MIT
// As little of a test framework as the core's tests need: named tests, checks that say where.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace gemmconv::test {

// Whether the baseline kernels fuse multiply-adds. The compiler says so of the flags that the tests
// share with them: arm64 yes, x86-64 no.
#if defined(__FP_FAST_FMAF)
constexpr bool kBaselineFuses = true;
#else
constexpr bool kBaselineFuses = false;
#endif

class Suite {
 public:
  // Passes over tests in whose names `part` is not; `is_short`: with a sixth of the random cases.
  Suite(std::string_view part, bool is_short) : part_(part), is_short_(is_short) {}

  // Runs a test and prints `ok name` or `FAIL name: reason`.
  template <typename Body>
  void test(const std::string& name, Body body) {
    if (name.find(part_) == std::string::npos) return;
    ++run_;
    failure_.clear();
    body();
    if (failure_.empty()) {
      std::printf("ok %s\n", name.c_str());
    } else {
      std::printf("FAIL %s: %s\n", name.c_str(), failure_.c_str());
      ++failed_;
    }
  }

  // Only the first failure of a test is told; the rest tend to follow from it.
  // std::source_location is newer than the libstdc++ that prebuilt addons are made with.
  void check(bool holds, const std::string& what, int line = __builtin_LINE()) {
    if (holds || !failure_.empty()) return;
    failure_ = what + " (line " + std::to_string(line) + ")";
  }

  int repeats(int usually) const { return is_short_ ? usually / 6 : usually; }

  bool passed() const { return run_ > 0 && failed_ == 0; }

 private:
  std::string_view part_;
  bool is_short_;
  std::string failure_;
  int run_ = 0;
  int failed_ = 0;
};

// The same stream of small pseudo-random numbers on every machine.
class Random {
 public:
  explicit Random(unsigned seed) : state_(seed) {}
  unsigned next() { return state_ = state_ * 1664525u + 1013904223u; }
  float real() { return static_cast<float>(next() >> 8) * 0x1p-23f - 1.0f; }
  std::ptrdiff_t below(std::ptrdiff_t bound) {
    return static_cast<std::ptrdiff_t>(next() >> 8) % bound;
  }

 private:
  unsigned state_;
};

void buffer_tests(Suite& suite);
void pack_tests(Suite& suite);
void gemm_tests(Suite& suite);
void conv2d_tests(Suite& suite);
void plan_tests(Suite& suite);
void schedule_tests(Suite& suite);
void streaming_tests(Suite& suite);
void strip_tests(Suite& suite);
void threads_tests(Suite& suite);
void winograd_error_tests(Suite& suite);
void winograd_tests(Suite& suite);

}  // namespace gemmconv::test
