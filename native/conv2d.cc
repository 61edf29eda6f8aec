// SPDX-License-Identifier: MIT
// Start here. A convolution is: one task for each image, group, part of the pixels and part of the
// filters; a task hands an algorithm (gemm.cc, direct.cc) its view of the tensors; the algorithm
// walks its blocks and calls a microkernel (kernel/), whose epilogue writes the output.
#include "conv2d.h"

#include <algorithm>

#include "direct.h"
#include "filter.h"
#include "gemm.h"
#include "threads.h"

namespace gemmconv {
namespace {

// Distance in floats between neighbours along each axis.
struct Strides {
  std::ptrdiff_t image, channel, row, column;
};

Strides strides_of(Layout layout, std::ptrdiff_t channels, std::ptrdiff_t height,
                   std::ptrdiff_t width) {
  const std::ptrdiff_t image = channels * height * width;
  if (layout == Layout::nchw) return {image, height * width, width, 1};
  return {image, 1, width * channels, channels};
}

// What a task computes: indices of its image and group, ranges of the rest.
struct Task {
  std::ptrdiff_t image, group;
  Range pixels;  // output pixels (gemm) or output rows (direct)
  Range filter_panels;
};

Range part_of(std::ptrdiff_t extent, std::ptrdiff_t parts, std::ptrdiff_t index) {
  return {extent * index / parts, extent * (index + 1) / parts};
}

struct Run {
  const Conv2dPlan& plan;
  const Conv2dTensors& tensors;
  float* workspace;
  const std::atomic<bool>* cancelled;

  bool is_cancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
};

Task task_at(const Conv2dPlan& plan, std::ptrdiff_t index) {
  const Conv2dProblem& p = plan.problem;
  const std::ptrdiff_t pixel_part = index % plan.pixel_parts;
  index /= plan.pixel_parts;
  const std::ptrdiff_t filter_part = index % plan.filter_parts;
  index /= plan.filter_parts;
  Range pixels = part_of(plan.pixel_units(), plan.pixel_parts, pixel_part);
  if (plan.algorithm == Algorithm::gemm) {
    pixels.begin *= plan.pixel_unit();
    pixels.end = std::min(pixels.end * plan.pixel_unit(), p.pixels());
  }
  return {index / p.groups, index % p.groups, pixels,
          part_of(filter_panels(plan).count(), plan.filter_parts, filter_part)};
}

// The image under the filters, as the packing and the direct kernel read it.
Patches patches_of(const Run& run, const Task& task) {
  const Conv2dProblem& p = run.plan.problem;
  const Strides s = strides_of(p.layout, p.channels, p.height, p.width);
  return {run.tensors.input + task.image * s.image + task.group * p.group_channels() * s.channel,
          s.channel,
          s.row,
          s.column,
          p.height,
          p.width,
          p.out_width,
          p.kernel_h,
          p.kernel_w,
          p.stride_h,
          p.stride_w,
          p.dilation_h,
          p.dilation_w,
          p.pad_top,
          p.pad_left};
}

// Under a 1×1 filter that skips nothing, an image is one long row: panels then cross its rows.
Patches flattened(const Patches& patches) {
  Patches flat = patches;
  const bool pointwise = patches.kernel_h == 1 && patches.kernel_w == 1 && patches.stride_h == 1 &&
                         patches.stride_w == 1 && patches.pad_top == 0 && patches.pad_left == 0;
  if (!pointwise || patches.out_width != patches.width) return flat;
  flat.width = flat.out_width = patches.height * patches.width;
  flat.height = 1;
  return flat;
}

// Where the group's part of the output begins, and the strides of its filters and pixels.
Destination destination_of(const Run& run, const Task& task) {
  const Conv2dProblem& p = run.plan.problem;
  const Strides s = strides_of(p.layout, p.out_channels, p.out_height, p.out_width);
  const std::ptrdiff_t offset = task.image * s.image + task.group * p.group_filters() * s.channel;
  const float* add = run.tensors.add;
  return {run.tensors.output + offset,
          add == nullptr ? nullptr : add + offset,
          s.channel,
          s.column,
          group_bias(run.plan, run.tensors.packed, task.group),
          p.epilogue};
}

void run_task(void* context, std::ptrdiff_t index, int slot) noexcept {
  const Run& run = *static_cast<const Run*>(context);
  if (run.is_cancelled()) return;
  const Conv2dPlan& plan = run.plan;
  const Task task = task_at(plan, index);
  float* scratch = run.workspace + static_cast<std::size_t>(slot) *
                                       Conv2dPlan::align_up_floats(plan.thread_scratch);
  const float* filter = group_filter(plan, run.tensors.packed, task.group);
  const Patches patches = patches_of(run, task);
  const Destination destination = destination_of(run, task);
  if (plan.algorithm == Algorithm::gemm) {
    const Gemm multiply{plan.isa->gemm, plan.lanes, plan.problem.group_filters(), plan.problem.k(),
                        plan.blocks,    filter,     flattened(patches),           destination};
    gemm(multiply, task.filter_panels, task.pixels, scratch);
  } else {
    const Direct taps{plan.isa->direct,
                      plan.problem.group_filters(),
                      plan.problem.group_channels(),
                      filter,
                      patches,
                      destination};
    direct(taps, task.filter_panels, task.pixels, scratch);
  }
}

}  // namespace

bool run(const Conv2dPlan& plan, const Conv2dTensors& tensors, float* workspace,
         const std::atomic<bool>* cancelled) noexcept {
  Run context{plan, tensors, workspace, cancelled};
  ThreadPool::process().parallel_for(plan.tasks(), plan.threads, run_task, &context);
  return !context.is_cancelled();
}

}  // namespace gemmconv
