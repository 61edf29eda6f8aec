// SPDX-License-Identifier: MIT
// The core's public face. A problem says what was asked; make_plan decides how, and allocates
// nothing; run does it and decides nothing. Reading starts in conv2d.cc.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "destination.h"
#include "dispatch.h"
#include "gemm/blocks.h"
#include "threads/schedule.h"

namespace gemmconv {

enum class Layout { nchw, nhwc };
enum class FilterLayout { oihw, hwio };
// What was asked for: the fastest, the fastest of the exact ones, or one by name.
enum class AlgorithmName { automatic, exact, gemm, direct, depthwise, winograd };
class Algorithm;

// Cross-correlation of a [batch, channels, height, width] image (in either layout) with
// [out_channels, channels / groups, kernel_h, kernel_w] filters. TypeScript has validated it.
struct Conv2dProblem {
  std::ptrdiff_t batch, channels, height, width;
  std::ptrdiff_t out_channels, kernel_h, kernel_w, groups;
  std::ptrdiff_t stride_h, stride_w, dilation_h, dilation_w;
  std::ptrdiff_t pad_top, pad_left, out_height, out_width;
  Layout layout;
  FilterLayout filter_layout;
  Epilogue epilogue;
  AlgorithmName algorithm;
  // A padded tap must be skipped, not multiplied by zero, and the filter not be transformed: it
  // holds a value that is not finite (0 · inf), or the bias a -0 (which tells the sum +0 from -0).
  bool fragile;

  std::ptrdiff_t group_channels() const { return channels / groups; }
  std::ptrdiff_t group_filters() const { return out_channels / groups; }
  std::ptrdiff_t k() const { return group_channels() * kernel_h * kernel_w; }
  std::ptrdiff_t pixels() const { return out_height * out_width; }
  bool is_padded() const;
};

// Plain data: it can be copied as bytes.
struct Conv2dPlan {
  Conv2dProblem problem;  // as restated.h has it
  const Isa* isa;
  const Algorithm* algorithm;
  Lanes lanes;
  int way;         // of the algorithm's own, where it has several
  TileShape tile;  // the largest of its microkernel
  BlockSizes blocks;
  // What a group's output is cut by, besides filter panels: rows, pixels or vectors of them, as the
  // algorithm likes; and how many of these its cache blocks hold.
  std::ptrdiff_t units, units_a_block;
  std::ptrdiff_t filter_panels;
  double cost;         // of one image and group, as the algorithm estimates it (cost.h)
  bool filters_first;  // cut between threads by filters rather than by units
  // Images and groups that are tasks apart; 1 where a task takes them all.
  std::ptrdiff_t image_tasks, group_tasks;
  // image_tasks × group_tasks × unit_parts × filter_parts tasks, never across K.
  int threads;
  std::ptrdiff_t unit_parts, filter_parts;
  std::ptrdiff_t thread_scratch;  // floats each thread needs

  std::ptrdiff_t tasks() const { return image_tasks * group_tasks * unit_parts * filter_parts; }
  // Of one thread, and of all.
  std::size_t scratch_bytes() const {
    return (static_cast<std::size_t>(thread_scratch) * sizeof(float) + 63) / 64 * 64;
  }
  std::size_t workspace_bytes() const {
    return static_cast<std::size_t>(threads) * scratch_bytes();
  }
  double flops() const;
  // What the cost model expects of the whole, from beginning to end, on this many threads.
  double estimated_cycles() const;
  const char* algorithm_label() const;  // as users write it
  const char* variant_label() const;
};

// Nothing when the algorithm that was asked for cannot do the problem.
std::optional<Conv2dPlan> make_plan(const Conv2dProblem& problem, const Isa& isa, int threads);

// An algorithm may come in variants, such as a GEMM with pixels or with channels on the lanes,
// between which a plan chooses as it does between algorithms. The bench and the tests choose by
// name: `use_variant` restricts later plans to one, an empty name to none; false when it is
// unknown.
int variant_count();
const char* variant_at(int index);
bool use_variant(std::string_view name);

struct Conv2dTensors {
  const float* input;
  const float* packed;  // by filter.h
  const float* add;     // of the output's shape; null for none
  float* output;
};

// A plan at work on tensors, for ThreadPool::submit.
struct Conv2dJob : Job {
  const Conv2dPlan* plan;
  Conv2dTensors tensors;

  Conv2dJob(const Conv2dPlan& plan, const Conv2dTensors& tensors);
};

// Computes on this thread with the help of the pool. scratch: plan.thread_scratch floats, aligned
// to a cache line. False when the pool's threads had no memory for theirs: the output is
// unfinished.
bool run(const Conv2dPlan& plan, const Conv2dTensors& tensors, float* scratch) noexcept;

}  // namespace gemmconv
