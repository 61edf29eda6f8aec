// SPDX-License-Identifier: MIT
#include "filter.h"

#include <algorithm>

#include "algorithm.h"
#include "system/buffer.h"
#include "views.h"

namespace gemmconv {
namespace {

// A tile of bias is read whole, by the widest vectors.
constexpr std::ptrdiff_t kWidestTile = kMaxVectors * kMaxLanes;

std::ptrdiff_t aligned_floats(std::ptrdiff_t floats) {
  return static_cast<std::ptrdiff_t>(align_up(static_cast<std::size_t>(floats) * sizeof(float)) /
                                     sizeof(float));
}

std::ptrdiff_t bias_floats(const Conv2dPlan& plan) {
  return aligned_floats(plan.problem.out_channels + kWidestTile);
}

std::ptrdiff_t group_floats(const Conv2dPlan& plan) {
  return aligned_floats(plan.algorithm->packed_floats(plan));
}

}  // namespace

std::size_t packed_bytes(const Conv2dPlan& plan) {
  return static_cast<std::size_t>(bias_floats(plan) + plan.group_tasks * group_floats(plan)) *
         sizeof(float);
}

int packed_format(const Conv2dPlan& plan) {
  int isa = 0;
  while (&isa_at(isa) != plan.isa) ++isa;
  return static_cast<int>(plan.algorithm->packed_layout(plan)) * isa_count() + isa;
}

void pack(const Conv2dPlan& plan, const float* filter, const float* bias, float* packed) {
  const Conv2dProblem& p = plan.problem;
  std::fill_n(packed, bias_floats(plan), 0.0f);
  if (bias != nullptr) std::copy_n(bias, p.out_channels, packed);
  float* weights = packed + bias_floats(plan);
  for (std::ptrdiff_t group = 0; group < plan.group_tasks; ++group) {
    plan.algorithm->pack(plan, filter_view(p, filter, group), weights + group * group_floats(plan));
  }
}

double pack_ns(const Conv2dPlan& plan) {
  // A float of the packed filter: one nanosecond where it is moved, half of one of Winograd's.
  return static_cast<double>(packed_bytes(plan)) / sizeof(float);
}

const float* packed_weights(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group) {
  return packed + bias_floats(plan) + group * group_floats(plan);
}

}  // namespace gemmconv
