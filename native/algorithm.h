// SPDX-License-Identifier: MIT
// What the plan and the run need to know of an algorithm. A new one is a sibling of those here: a
// class of its own, and a row in algorithms() that says when it is tried.
#pragma once

#include <cstddef>
#include <span>

#include "conv2d.h"
#include "destination.h"
#include "pack.h"

namespace gemmconv {

// One piece of work, computed by one thread.
struct Task {
  std::ptrdiff_t image, group;  // of plan.image_tasks and plan.group_tasks
  Range units;                  // of plan.units: what the algorithm cuts the output's pixels by
  Range filters;                // of plan.filter_panels
};

// How the packed weights of a group task lie. Plans of a layer and an ISA with equal layouts read
// the same floats. (A layer's filter is packed once for each, whatever its images' shapes.)
enum class PackedLayout : int {
  row_panels,        // of the GEMM kernel's rows, by K blocks
  lane_panels,       // of vectors of filters, K in one block
  lane_panels_by_k,  // the same, by K blocks
  wide_lane_panels,  // of the direct kernel's wide tiles, K in one block
  // Of the direct_pixels kernel's rows, K in one block: for nchw, and for nhwc, which images of one
  // patch become (restated.h).
  pixel_row_panels,
  transposed_pixel_row_panels,
  group_vectors,     // direct_groups: vectors of filters × k × lanes
  filters_taps,      // depthwise: filters × taps
  taps_filters,      // depthwise: taps × filters
  taps_lines,        // the same, taps an odd number of lines apart
  channels_vectors,  // depthwise: vectors of channels × multiplier × taps × lanes
  winograd_f2,       // frequencies, see winograd.h
  winograd_f4,
  winograd_f2_5x5,
};

// An algorithm has no state: every answer depends on its arguments alone.
class Algorithm {
 public:
  constexpr Algorithm(AlgorithmName name, const char* label, const char* variant)
      : name_(name), label_(label), variant_(variant) {}
  AlgorithmName name() const { return name_; }
  const char* label() const { return label_; }      // the name as users write it
  const char* variant() const { return variant_; }  // among all, including those of that name

  // Whether every output is one chain of FMAs over (c, kh, kw) ascending.
  virtual bool is_exact() const { return true; }
  virtual bool can_compute(const Conv2dProblem& problem, const Isa& isa) const = 0;
  // Completes a plan of which problem and isa are set: lanes, tile, blocks, units, units_a_block,
  // filter_panels. The plan has set image_tasks, group_tasks and filters_first to what is usual.
  virtual void block(Conv2dPlan& plan) const = 0;
  // Estimated time of one image and group, in the unit of cost.h.
  virtual double cost(const Conv2dPlan& plan) const = 0;
  // What its cost is multiplied by when compared with the others': below 1 where theirs leave out
  // more than its own does; infinite where only a user who asks for it by name should get it.
  virtual double handicap(const Conv2dPlan&) const { return 1; }
  // Floats of scratch a thread needs for the largest task of a complete plan.
  virtual std::ptrdiff_t scratch(const Conv2dPlan& plan) const = 0;

  // The packed weights of one group task. The view shows the first of the groups; the filters of
  // the others follow in it.
  virtual PackedLayout packed_layout(const Conv2dPlan& plan) const = 0;
  virtual std::ptrdiff_t packed_floats(const Conv2dPlan& plan) const = 0;
  virtual void pack(const Conv2dPlan& plan, const FilterView& filter, float* packed) const = 0;

  virtual void run(const Conv2dPlan& plan, const Conv2dTensors& tensors, const Task& task,
                   float* scratch) const noexcept = 0;

 protected:
  ~Algorithm() = default;

 private:
  AlgorithmName name_;
  const char* label_;
  const char* variant_;
};

// Where two cost the same the first wins.
std::span<const Algorithm* const> algorithms();

extern const Algorithm& gemm_on_pixels;
extern const Algorithm& gemm_on_channels;
extern const Algorithm& direct_on_channels;
extern const Algorithm& direct_on_rows;
extern const Algorithm& direct_on_pixels;
extern const Algorithm& direct_on_groups;
extern const Algorithm& depthwise_on_pixels;
extern const Algorithm& depthwise_on_channels;
extern const Algorithm& depthwise_transposing;
extern const Algorithm& winograd_f2;
extern const Algorithm& winograd_f4;
extern const Algorithm& winograd_f2_5x5;

}  // namespace gemmconv
