// SPDX-License-Identifier: MIT
// Start here. A convolution is cut into tasks: one image, one group, a part of the output's pixels
// and a part of the filters each. A task goes to the plan's algorithm (gemm_algorithm.cc,
// direct_algorithm.cc), which walks its blocks (gemm.cc, direct.cc) and calls a microkernel
// (kernel/), whose epilogue writes the output.
#include "conv2d.h"

#include "algorithm.h"
#include "threads/threads.h"

namespace gemmconv {
namespace {

// What a core computes in a nanosecond, within a factor of a few: only the scheduling of large
// beside small calls depends on it.
constexpr double kFlopsPerNs = 100;

Range part_of(std::ptrdiff_t extent, std::ptrdiff_t parts, std::ptrdiff_t index) {
  return {extent * index / parts, extent * (index + 1) / parts};
}

Task task_at(const Conv2dPlan& plan, std::ptrdiff_t index) {
  const std::ptrdiff_t unit_part = index % plan.unit_parts;
  index /= plan.unit_parts;
  const std::ptrdiff_t filter_part = index % plan.filter_parts;
  index /= plan.filter_parts;
  return {index / plan.group_tasks, index % plan.group_tasks,
          part_of(plan.units, plan.unit_parts, unit_part),
          part_of(plan.filter_panels, plan.filter_parts, filter_part)};
}

void run_task(Job& job, std::ptrdiff_t index, float* scratch) noexcept {
  const Conv2dJob& call = static_cast<const Conv2dJob&>(job);
  call.plan->algorithm->run(*call.plan, call.tensors, task_at(*call.plan, index), scratch);
}

}  // namespace

Conv2dJob::Conv2dJob(const Conv2dPlan& p, const Conv2dTensors& t) : plan(&p), tensors(t) {
  Job::run_task = gemmconv::run_task;
  tasks = p.tasks();
  scratch_bytes = p.scratch_bytes();
  estimated_ns = p.flops() / kFlopsPerNs;
}

bool run(const Conv2dPlan& plan, const Conv2dTensors& tensors, float* scratch) noexcept {
  Conv2dJob job(plan, tensors);
  return ThreadPool::process().run(job, plan.threads, scratch);
}

}  // namespace gemmconv
