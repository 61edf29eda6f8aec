// SPDX-License-Identifier: MIT
// What this process may use: instruction sets (operating system's consent included), caches, cores,
// memory.
#pragma once

#include <cstddef>

namespace gemmconv {

struct CacheSizes {
  std::size_t l1;  // data cache of a core, bytes
  std::size_t l2;  // of a core
  std::size_t l3;  // shared; 0 where there is none
};

bool cpu_has_avx2_fma();
bool cpu_has_avx512f();

// Read once. Where the system does not tell: 32 KiB, 512 KiB, 0, small enough for any CPU in use.
const CacheSizes& cache_sizes();

// Cores by affinity mask, and by cgroup CPU quota rounded up; at least 1.
int usable_cores();

// Bytes of memory that this process may use, by what is installed and by cgroup limit; 0 where the
// system does not tell.
double usable_memory();

}  // namespace gemmconv
