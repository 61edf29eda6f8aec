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

// What the cost model has to know of a core, besides its caches.
struct CoreTraits {
  // Does a multiply-add of 16 lanes in two halves, one a cycle, not two (Zen 4).
  bool halves_avx512;
  // Its L3 is far: behind the mesh of Intel's servers, where a core reads 21 GB/s from it and waits
  // for 16 lines at most (Sapphire Rapids; Zen 4: 67 GB/s, 24 lines).
  bool l3_is_far;
};

const CoreTraits& core_traits();

// Bytes of which lines come so soon that nobody need ask for them ahead: as many as L2 holds, or
// four times that where L3 is not far.
std::size_t near_bytes();

// Cores by affinity mask, and by cgroup CPU quota rounded up; at least 1.
int usable_cores();

// Bytes of memory that this process may use, by what is installed and by cgroup limit; 0 where the
// system does not tell.
double usable_memory();

}  // namespace gemmconv
