// SPDX-License-Identifier: MIT
// What each operating system does in its own way: native/system/system_<name>.cc, of which CMake
// takes one.
#pragma once

#include <cstddef>
#include <functional>

#include "system/cpu.h"

namespace gemmconv::system {

// 0 for a level of which the system does not tell.
CacheSizes cache_sizes();

// Cores by affinity mask; 0 where there is none.
int affinity_cores();

// What a container or a job object leaves of them; 0 for no limit.
double quota_cores();

// Bytes that are installed, or that a container is limited to; 0 where the system does not tell.
double memory_bytes();

// Starts a detached thread that takes no signals but those of its own faults, stands a little
// behind the process's other threads where the system can tell threads apart, and has our name in
// debuggers and profilers. Throws std::system_error.
void start_thread(std::function<void()> run);

// Asks for huge pages in [begin, begin + bytes), of which `begin` and `bytes` are multiples.
// Advice: where it is refused the pages are small ones.
void advise_huge_pages(void* begin, std::size_t bytes);

// Keeps this code in memory to the end of the process: Node unloads an addon with the last thread
// that used it, and our threads live on.
void stay_loaded();

}  // namespace gemmconv::system
