// SPDX-License-Identifier: MIT
#include "cpu.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

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
#else
bool cpu_has_avx2_fma() { return false; }
bool cpu_has_avx512f() { return false; }
#endif

namespace {

// Of a small file; none where it cannot be read. Not by std::ifstream, which brings the locales of
// libstdc++ along, a fifth of the addon.
[[maybe_unused]] std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::FILE* const file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return lines;
  std::string line;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c != '\n') {
      line += static_cast<char>(c);
    } else {
      lines.push_back(std::exchange(line, {}));
    }
  }
  if (!line.empty()) lines.push_back(std::move(line));
  std::fclose(file);
  return lines;
}

[[maybe_unused]] std::string first_line(const std::string& path) {
  const std::vector<std::string> lines = lines_of(path);
  return lines.empty() ? std::string() : lines.front();
}

#if defined(__linux__)

// "32K" or "1M", as sysfs writes cache sizes.
std::size_t parse_size(const std::string& text) {
  std::size_t value = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    value = value * 10 + static_cast<std::size_t>(text[i] - '0');
  }
  if (i < text.size() && text[i] == 'K') return value << 10;
  if (i < text.size() && text[i] == 'M') return value << 20;
  return value;
}

CacheSizes read_cache_sizes() {
  CacheSizes sizes{};
  for (int i = 0; i < 8; ++i) {
    const std::string index = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    const std::string level = first_line(index + "/level");
    if (level.empty()) break;
    if (first_line(index + "/type") == "Instruction") continue;
    const std::size_t size = parse_size(first_line(index + "/size"));
    if (level == "1") sizes.l1 = size;
    if (level == "2") sizes.l2 = size;
    if (level == "3") sizes.l3 = size;
  }
  return sizes;
}

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  return CPU_COUNT(&set);
}

// "quota period" in microseconds of a cgroup v2 cpu.max, as cores; 0 for "max" or no such file.
double cpu_max_cores(const std::string& path) {
  const std::string line = first_line(path);
  const std::size_t space = line.find(' ');
  if (space == std::string::npos || line.compare(0, 3, "max") == 0) return 0;
  const double quota = std::strtod(line.c_str(), nullptr);
  const double period = std::strtod(line.c_str() + space, nullptr);
  return quota > 0 && period > 0 ? quota / period : 0;
}

// Bytes; 0 for "max" or no such file.
double memory_max_bytes(const std::string& path) {
  return std::strtod(first_line(path).c_str(), nullptr);
}

// 0 stands for none.
double smaller_quota(double a, double b) { return a > 0 && b > 0 ? std::min(a, b) : a + b; }

// A quota may sit on any ancestor of the process's own group; the smallest one binds.
double cgroup_v2_quota(const char* file_name, double (*read)(const std::string& path)) {
  std::string group;
  for (const std::string& line : lines_of("/proc/self/cgroup")) {
    if (line.compare(0, 3, "0::") == 0) group = line.substr(3);
  }
  double quota = 0;
  for (;;) {
    quota = smaller_quota(quota, read("/sys/fs/cgroup" + group + "/" + file_name));
    if (group.empty()) return quota;
    group.resize(group.find_last_of('/') == std::string::npos ? 0 : group.find_last_of('/'));
  }
}

double cgroup_v1_cores() {
  const std::string root = "/sys/fs/cgroup/cpu/";
  const double quota = std::strtod(first_line(root + "cpu.cfs_quota_us").c_str(), nullptr);
  const double period = std::strtod(first_line(root + "cpu.cfs_period_us").c_str(), nullptr);
  return quota > 0 && period > 0 ? quota / period : 0;
}

double quota_cores() {
  return smaller_quota(cgroup_v2_quota("cpu.max", cpu_max_cores), cgroup_v1_cores());
}

double memory_bytes() {
  const double installed =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const double v1 = memory_max_bytes("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return smaller_quota(installed,
                       smaller_quota(v1, cgroup_v2_quota("memory.max", memory_max_bytes)));
}

#elif defined(__APPLE__)

std::size_t sysctl_size(const char* name) {
  std::size_t value = 0;
  std::size_t length = sizeof value;
  return sysctlbyname(name, &value, &length, nullptr, 0) == 0 ? value : 0;
}

CacheSizes read_cache_sizes() {
  // perflevel0 are the fast cores; their L2 is shared by a cluster, and there is no L3.
  return {sysctl_size("hw.perflevel0.l1dcachesize"), sysctl_size("hw.perflevel0.l2cachesize"), 0};
}

int affinity_cores() { return 0; }
double quota_cores() { return 0; }
double memory_bytes() { return static_cast<double>(sysctl_size("hw.memsize")); }

#else

CacheSizes read_cache_sizes() { return {}; }
int affinity_cores() { return 0; }
double quota_cores() { return 0; }
double memory_bytes() { return 0; }

#endif

}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes read = read_cache_sizes();
    if (read.l1 == 0) read.l1 = std::size_t{32} << 10;
    if (read.l2 == 0) read.l2 = std::size_t{512} << 10;
    return read;
  }();
  return sizes;
}

double usable_memory() { return memory_bytes(); }

int usable_cores() {
  int cores = affinity_cores();
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = quota_cores();
  if (quota > 0) cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  return std::max(cores, 1);
}

}  // namespace gemmconv
