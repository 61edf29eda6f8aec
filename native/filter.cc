// SPDX-License-Identifier: MIT
#include "filter.h"

#include <algorithm>

#include "buffer.h"

namespace gemmconv {
namespace {

std::ptrdiff_t aligned_floats(std::ptrdiff_t floats) {
  return static_cast<std::ptrdiff_t>(align_up(static_cast<std::size_t>(floats) * sizeof(float)) /
                                     sizeof(float));
}

// Zeros up to the last whole vector: the kernels load bias by vectors.
std::ptrdiff_t bias_floats(const Conv2dPlan& plan) {
  const int lanes = plan.isa->gemm->lanes;
  return aligned_floats((plan.problem.group_filters() + lanes - 1) / lanes * lanes);
}

std::ptrdiff_t group_floats(const Conv2dPlan& plan) {
  return bias_floats(plan) + aligned_floats(plan.problem.k() * filter_panels(plan).stored());
}

FilterView view_of(const Conv2dProblem& p, const float* filter, std::ptrdiff_t group) {
  const std::ptrdiff_t taps = p.kernel_h * p.kernel_w;
  const std::ptrdiff_t channels = p.group_channels();
  FilterView view{filter, 0, 0, 0, 0, channels, p.kernel_h, p.kernel_w};
  if (p.filter_layout == FilterLayout::oihw) {
    view.oc_stride = channels * taps;
    view.c_stride = taps;
    view.kh_stride = p.kernel_w;
    view.kw_stride = 1;
  } else {
    view.oc_stride = 1;
    view.c_stride = p.out_channels;
    view.kw_stride = channels * p.out_channels;
    view.kh_stride = p.kernel_w * view.kw_stride;
  }
  view.data += group * p.group_filters() * view.oc_stride;
  return view;
}

}  // namespace

Panels filter_panels(const Conv2dPlan& plan) {
  const GemmKernel& kernel = *plan.isa->gemm;
  const std::ptrdiff_t filters = plan.problem.group_filters();
  if (plan.lanes == Lanes::pixels) return {filters, kernel.mr, 1};
  return {filters, kernel.lanes * kernel.vectors, kernel.lanes};
}

std::size_t packed_bytes(const Conv2dPlan& plan) {
  return static_cast<std::size_t>(plan.problem.groups * group_floats(plan)) * sizeof(float);
}

int packed_format(const Conv2dPlan& plan) {
  int isa = 0;
  while (&isa_at(isa) != plan.isa) ++isa;
  // One K block of channel panels is what the direct kernel reads.
  const bool one_block = plan.blocks.kc >= plan.problem.k();
  const int layout = plan.lanes == Lanes::pixels ? 0 : one_block ? 1 : 2;
  return isa * 3 + layout;
}

void pack(const Conv2dPlan& plan, const float* filter, const float* bias, float* packed) {
  const Conv2dProblem& p = plan.problem;
  const std::ptrdiff_t filters = p.group_filters();
  for (std::ptrdiff_t group = 0; group < p.groups; ++group) {
    float* group_packed = packed + group * group_floats(plan);
    std::fill_n(group_packed, bias_floats(plan), 0.0f);
    if (bias != nullptr) std::copy_n(bias + group * filters, filters, group_packed);
    pack_filter(view_of(p, filter, group), filter_panels(plan), plan.blocks.kc,
                group_packed + bias_floats(plan));
  }
}

const float* group_bias(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group) {
  return packed + group * group_floats(plan);
}

const float* group_filter(const Conv2dPlan& plan, const float* packed, std::ptrdiff_t group) {
  return group_bias(plan, packed, group) + bias_floats(plan);
}

}  // namespace gemmconv
