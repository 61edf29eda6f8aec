// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <pthread.h>
#include <sys/sysctl.h>

#include "system/system.h"
#include "system/system_posix.h"

namespace gemmconv::system {
namespace {

std::size_t sysctl_size(const char* name) {
  std::size_t value = 0;
  std::size_t length = sizeof value;
  return sysctlbyname(name, &value, &length, nullptr, 0) == 0 ? value : 0;
}

std::size_t either(std::size_t size, std::size_t other) { return size > 0 ? size : other; }

}  // namespace

// On Apple silicon perflevel0 are the fast cores; their L2 is shared by a cluster, and there is no
// L3. Intel's have no levels.
CacheSizes cache_sizes() {
  return {
      either(sysctl_size("hw.perflevel0.l1dcachesize"), sysctl_size("hw.l1dcachesize")),
      either(sysctl_size("hw.perflevel0.l2cachesize"), sysctl_size("hw.l2cachesize")),
      sysctl_size("hw.l3cachesize"),
  };
}

int affinity_cores() { return 0; }
double quota_cores() { return 0; }
double memory_bytes() { return static_cast<double>(sysctl_size("hw.memsize")); }

// Niceness is the whole process's here.
void introduce_this_thread() { pthread_setname_np("gemmconv"); }

void advise_huge_pages(void*, std::size_t) {}

void stay_loaded() {
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &self) == 0) return;
  dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

}  // namespace gemmconv::system
