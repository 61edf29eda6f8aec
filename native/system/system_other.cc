// SPDX-License-Identifier: MIT
// Any other Unix: right answers, of which nothing is known but the number of cores.
#include "system/system.h"
#include "system/system_posix.h"

namespace gemmconv::system {

CacheSizes cache_sizes() { return {}; }
int affinity_cores() { return 0; }
double quota_cores() { return 0; }
double memory_bytes() { return 0; }
void introduce_this_thread() {}
void advise_huge_pages(void*, std::size_t) {}
void stay_loaded() {}  // the linker does it, where it knows -z nodelete

}  // namespace gemmconv::system
