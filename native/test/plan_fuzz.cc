// SPDX-License-Identifier: MIT
// Whatever TypeScript lets through must be planned at once, without overflow, within bounds. Run by
// test/fuzz.sh with sanitizers that watch the arithmetic.
#include <cstdlib>

#include "filter.h"
#include "fuzz.h"

namespace gemmconv::test {
namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

void check(const Conv2dPlan& plan, int threads) {
  must(plan.threads >= 1 && plan.threads <= threads);
  must(plan.image_tasks >= 1 && plan.group_tasks >= 1);
  must(plan.unit_parts >= 1 && plan.unit_parts <= plan.units);
  must(plan.filter_parts >= 1 && plan.filter_parts <= plan.filter_panels);
  must(plan.tasks() >= 1);
  // A thread's scratch depends on the caches and, for direct and depthwise, on the filter's window.
  const Conv2dProblem& p = plan.problem;
  const double filter = product({p.k(), p.out_channels});
  must(static_cast<double>(plan.workspace_bytes()) / threads < 0x1p24 + 64 * filter);
  // A filter exists in memory, as do the bias and the packed form; so both are a size.
  must(static_cast<double>(packed_bytes(plan)) <
       0x1p16 + 4096.0 * (filter + static_cast<double>(p.out_channels)));
  must(packed_format(plan) >= 0);
}

}  // namespace
}  // namespace gemmconv::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gemmconv;
  test::Bytes bytes(data, size);
  const Isa& isa = isa_at(static_cast<int>(bytes.below(isa_count())));
  const int threads = 1 + static_cast<int>(bytes.below(128)) * 8;
  const auto problem = test::problem_of(bytes, 50);
  if (!problem) return 0;
  const auto plan = make_plan(*problem, isa, threads);
  if (plan) test::check(*plan, threads);
  // `auto` and `exact` always can.
  if (!plan && problem->algorithm <= AlgorithmName::exact) std::abort();
  return 0;
}
