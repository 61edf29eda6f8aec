// SPDX-License-Identifier: MIT
#include <windows.h>

#include <thread>
#include <utility>
#include <vector>

#include "system/system.h"

namespace gemmconv::system {
namespace {

int ones_in(ULONG_PTR mask) { return __builtin_popcountll(mask); }

}  // namespace

CacheSizes cache_sizes() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(
      bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  CacheSizes sizes{};
  if (!GetLogicalProcessorInformation(entries.data(), &bytes)) return sizes;
  for (const SYSTEM_LOGICAL_PROCESSOR_INFORMATION& entry : entries) {
    if (entry.Relationship != RelationCache || entry.Cache.Type == CacheInstruction) continue;
    if (entry.Cache.Level == 1) sizes.l1 = entry.Cache.Size;
    if (entry.Cache.Level == 2) sizes.l2 = entry.Cache.Size;
    if (entry.Cache.Level == 3) sizes.l3 = entry.Cache.Size;
  }
  return sizes;
}

// Of the process's own group of at most 64 processors, in which its threads start.
int affinity_cores() {
  DWORD_PTR process = 0;
  DWORD_PTR machine = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &machine)) return 0;
  return ones_in(process);
}

// The job object that a container runs in: its hard limit, in hundredths of a percent of the
// machine.
double quota_cores() {
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate{};
  if (!QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof rate,
                                 nullptr)) {
    return 0;
  }
  const DWORD hard = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
  if ((rate.ControlFlags & hard) != hard) return 0;
  return rate.CpuRate / 10000.0 * std::thread::hardware_concurrency();
}

double memory_bytes() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<double>(status.ullTotalPhys) : 0;
}

// Priorities are the threads' own here, but what one step less does to the event loop has not been
// measured: they stay as they are.
void start_thread(std::function<void()> run) { std::thread(std::move(run)).detach(); }

// Large pages take a privilege that few processes have.
void advise_huge_pages(void*, std::size_t) {}

void stay_loaded() {
  HMODULE self = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(&stay_loaded), &self);
}

}  // namespace gemmconv::system
