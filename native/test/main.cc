// SPDX-License-Identifier: MIT
// native_tests [suite…]: those named, or all.
#include <algorithm>
#include <string_view>

#include "check.h"

namespace gemmconv::test {
namespace {

struct NamedSuite {
  std::string_view name;
  void (*run)(Suite&);
};

constexpr NamedSuite kSuites[] = {
    {"buffer", buffer_tests},       {"pack", pack_tests},
    {"gemm", gemm_tests},           {"conv2d", conv2d_tests},
    {"plan", plan_tests},           {"schedule", schedule_tests},
    {"threads", threads_tests},     {"strip", strip_tests},
    {"winograd", winograd_tests},   {"winograd_error", winograd_error_tests},
    {"streaming", streaming_tests},
};

}  // namespace
}  // namespace gemmconv::test

int main(int count, char** names) {
  gemmconv::test::Suite suite;
  for (const auto& [name, run] : gemmconv::test::kSuites) {
    if (count == 1 || std::find(names + 1, names + count, name) != names + count) run(suite);
  }
  return suite.failed() == 0 ? 0 : 1;
}
