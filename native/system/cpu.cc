// SPDX-License-Identifier: MIT
#include "system/cpu.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "system/system.h"

namespace gemmconv {

#if defined(__x86_64__)
// The builtin checks XCR0 as well: registers that the system does not save do not count.
bool cpu_has_avx2_fma() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool cpu_has_avx512f() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && cpu_has_avx2_fma();
}

const CoreTraits& core_traits() {
  // AMD's family 19h with AVX-512 is Zen 4; Intel's CPUs with AVX-512 that are not servers, with a
  // ring and a faster L3, are few.
  static const CoreTraits traits = [] {
    __builtin_cpu_init();
    const bool has_avx512 = __builtin_cpu_supports("avx512f");
    return CoreTraits{has_avx512 && __builtin_cpu_is("amdfam19h"),
                      has_avx512 && __builtin_cpu_is("intel")};
  }();
  return traits;
}
#else
bool cpu_has_avx2_fma() { return false; }
bool cpu_has_avx512f() { return false; }

const CoreTraits& core_traits() {
  static const CoreTraits traits{false, false};
  return traits;
}
#endif

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes read = system::cache_sizes();
    if (read.l1 == 0) read.l1 = std::size_t{32} << 10;
    if (read.l2 == 0) read.l2 = std::size_t{512} << 10;
    return read;
  }();
  return sizes;
}

std::size_t near_bytes() { return cache_sizes().l2 * (core_traits().l3_is_far ? 1 : 4); }

double usable_memory() { return system::memory_bytes(); }

int usable_cores() {
  int cores = system::affinity_cores();
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = system::quota_cores();
  if (quota > 0) cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  return std::max(cores, 1);
}

}  // namespace gemmconv
