// SPDX-License-Identifier: MIT
// Start here. A convolution is cut into tasks: one image, one group, a part of the output's pixels
// and a part of the filters each. A task goes to the plan's algorithm (gemm_algorithm.cc,
// direct_algorithm.cc), which walks its blocks (gemm.cc, direct.cc) and calls a microkernel
// (kernel/), whose epilogue writes the output.
#include "conv2d.h"

#include "algorithm.h"
#include "threads.h"

namespace gemmconv {
namespace {

struct Run {
  const Conv2dPlan& plan;
  const Conv2dTensors& tensors;
  float* workspace;
  const std::atomic<bool>* cancelled;

  bool is_cancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
};

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

void run_task(void* context, std::ptrdiff_t index, int slot) noexcept {
  const Run& run = *static_cast<const Run*>(context);
  if (run.is_cancelled()) return;
  float* scratch = run.workspace + static_cast<std::size_t>(slot) * run.plan.scratch_stride();
  run.plan.algorithm->run(run.plan, run.tensors, task_at(run.plan, index), scratch);
}

}  // namespace

bool run(const Conv2dPlan& plan, const Conv2dTensors& tensors, float* workspace,
         const std::atomic<bool>* cancelled) noexcept {
  Run context{plan, tensors, workspace, cancelled};
  ThreadPool::process().parallel_for(plan.tasks(), plan.threads, run_task, &context);
  return !context.is_cancelled();
}

}  // namespace gemmconv
