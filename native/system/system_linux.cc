// SPDX-License-Identifier: MIT
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "system/system.h"
#include "system/system_posix.h"

namespace gemmconv::system {
namespace {

// How far workers stand behind the process's own threads. With the event loop on one of the cores
// that they use, at 0 it often waits for a time slice of theirs; at 3 99 % of its delays are under
// 5.4 ms with 32 pending 64@56, at 5 under 3.9 (medians of three; on a busy machine 6.4 and 5.1),
// and 99 % of lone 64@56 beside a large call take under 3.4 to 4.4 ms, at 5 under 1.6 to 2.7.
// Small calls keep their rate at 5 since their results are told together (reports.h), 70 000 a
// second; before, the loop came for every single one, and they lost a quarter.
constexpr int kNiceness = 5;

// Of a small file; none where it cannot be read. Not by std::ifstream, which brings the locales of
// libstdc++ along, a fifth of the addon.
std::vector<std::string> lines_of(const std::string& path) {
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

std::string first_line(const std::string& path) {
  const std::vector<std::string> lines = lines_of(path);
  return lines.empty() ? std::string() : lines.front();
}

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

}  // namespace

CacheSizes cache_sizes() {
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

void introduce_this_thread() {
  pthread_setname_np(pthread_self(), "gemmconv");
  const id_t self = 0;  // on Linux a thread, not its process
  setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + kNiceness);
}

void advise_huge_pages(void* begin, std::size_t bytes) { madvise(begin, bytes, MADV_HUGEPAGE); }

// The linker does it: -z nodelete. musl never unloads.
void stay_loaded() {}

}  // namespace gemmconv::system
