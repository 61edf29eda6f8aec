// SPDX-License-Identifier: MIT
// native_tests [suite…]: those named, or all.
// native_tests --short [suite…]: the same, with fewer random cases.
// native_tests --on=ISA suite…: of those the tests "on ISA", as short: such that an emulated CPU
// gets done.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

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

int main(int count, char** arguments) {
  std::vector<std::string_view> names(arguments + 1, arguments + count);
  std::string part;
  const bool is_of_one = !names.empty() && names[0].substr(0, 5) == "--on=";
  const bool is_short = is_of_one || (!names.empty() && names[0] == "--short");
  if (is_of_one) part = "on " + std::string(names[0].substr(5));
  if (is_short) names.erase(names.begin());
  gemmconv::test::Suite suite(part, is_short);
  for (const auto& [name, run] : gemmconv::test::kSuites) {
    if (names.empty() || std::find(names.begin(), names.end(), name) != names.end()) run(suite);
  }
  return suite.passed() ? 0 : 1;
}
