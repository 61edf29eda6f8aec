// SPDX-License-Identifier: MIT
// Decides how a problem is computed: the algorithm that costs least, cut into tasks for the
// threads.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "algorithm.h"
#include "conv2d.h"
#include "cost.h"
#include "restated.h"

namespace gemmconv {
namespace {

// What a thread must have to do before another is worth waking: 0.3 MFLOP for two pay when the pool
// spins.
constexpr double kFlopsPerThread = 150e3;
// Tasks may leave this much of the threads' time unused before they are cut finer.
constexpr double kTolerableImbalance = 1.05;

// Groups of nhwc write runs of outputs side by side. Shorter ones than this go to one thread after
// another: threads that write the same cache lines at once, which are fetched in pairs, wait for
// one another (3×3 on two threads, Zen 4: 128@56 in 32 groups 1.03 to 1.5 times as fast, 256@28 1.1
// to 1.8; in 8 groups, of 32 outputs, 1.04; 1024@7 in 32 groups, too, 0.98 to 1.0).
constexpr std::ptrdiff_t kUnsharedRun = 64;

// The fewest parts, at least `least`, that give every thread the same number of tasks, when each
// part makes `tasks` of them.
std::ptrdiff_t even_parts(std::ptrdiff_t tasks, int threads, std::ptrdiff_t least,
                          std::ptrdiff_t most) {
  const auto imbalance = [&](std::ptrdiff_t parts) {
    const double all = static_cast<double>(tasks * parts);
    return std::ceil(all / threads) * threads / all;
  };
  std::ptrdiff_t best = least;
  for (std::ptrdiff_t parts = least; parts <= std::min(most, least + threads); ++parts) {
    if (imbalance(best) <= kTolerableImbalance) break;
    if (imbalance(parts) < imbalance(best)) best = parts;
  }
  return best;
}

// How much larger the largest of so many parts is than they are on average.
double unevenness(std::ptrdiff_t extent, std::ptrdiff_t parts) {
  const std::ptrdiff_t largest = (extent + parts - 1) / parts;
  return static_cast<double>(largest * parts) / static_cast<double>(extent);
}

// Whether outputs of neighbouring groups lie in the same cache lines.
bool shares_lines(const Conv2dProblem& p) {
  return p.layout == Layout::nhwc && p.groups > 1 && p.group_filters() < kUnsharedRun;
}

// Cuts the work into tasks: by cache blocks, then finer until the threads are busy alike; filters
// first where they are the larger operand, so that each thread streams its own, or where the
// algorithm says so.
void cut(Conv2dPlan& plan, int threads) {
  const std::ptrdiff_t apart = plan.image_tasks * plan.group_tasks;
  plan.unit_parts = (plan.units + plan.units_a_block - 1) / plan.units_a_block;
  plan.filter_parts = 1;
  plan.threads = static_cast<int>(
      std::clamp(plan.flops() / kFlopsPerThread, 1.0, static_cast<double>(threads)));
  if (plan.threads == 1 || apart == 0) return;
  if (plan.filters_first) {
    plan.filter_parts = even_parts(apart * plan.unit_parts, plan.threads, 1, plan.filter_panels);
    // Three planes for two threads, say: all of each are cut instead (3×3 3@1080p: 1.67 to 1.02
    // ms).
    if (unevenness(plan.filter_panels, plan.filter_parts) > unevenness(plan.units, plan.threads)) {
      plan.filter_parts = 1;
    }
  }
  // Tasks next to each other, which run at the same time, are then of other pixels.
  if (shares_lines(plan.problem)) {
    plan.unit_parts = std::clamp<std::ptrdiff_t>(plan.threads, plan.unit_parts, plan.units);
  }
  plan.unit_parts =
      even_parts(apart * plan.filter_parts, plan.threads, plan.unit_parts, plan.units);
}

// Null for any.
std::atomic<const Algorithm*> only_variant{nullptr};

bool is_allowed(const Algorithm& algorithm, AlgorithmName asked) {
  const Algorithm* only = only_variant.load(std::memory_order_relaxed);
  if (only != nullptr && only != &algorithm) return false;
  if (asked == AlgorithmName::automatic) return true;
  if (asked == AlgorithmName::exact) return algorithm.is_exact();
  return algorithm.name() == asked;
}

}  // namespace

std::span<const Algorithm* const> algorithms() {
  static const Algorithm* const all[] = {
      &gemm_on_pixels,        &gemm_on_channels, &direct_on_channels,  &direct_on_pixels,
      &direct_on_rows,        &direct_on_groups, &depthwise_on_pixels, &depthwise_on_channels,
      &depthwise_transposing, &winograd_f2,      &winograd_f4,         &winograd_f2_5x5};
  return all;
}

bool Conv2dProblem::is_padded() const {
  const auto beyond = [](std::ptrdiff_t out, std::ptrdiff_t stride, std::ptrdiff_t taps,
                         std::ptrdiff_t dilation, std::ptrdiff_t pad, std::ptrdiff_t extent) {
    return pad > 0 || (out - 1) * stride + (taps - 1) * dilation - pad >= extent;
  };
  return beyond(out_height, stride_h, kernel_h, dilation_h, pad_top, height) ||
         beyond(out_width, stride_w, kernel_w, dilation_w, pad_left, width);
}

const char* Conv2dPlan::algorithm_label() const { return algorithm->label(); }

const char* Conv2dPlan::variant_label() const { return algorithm->variant(); }

int variant_count() { return static_cast<int>(algorithms().size()); }

const char* variant_at(int index) {
  return algorithms()[static_cast<std::size_t>(index)]->variant();
}

bool use_variant(std::string_view name) {
  const Algorithm* only = nullptr;
  for (const Algorithm* algorithm : algorithms()) {
    if (name == algorithm->variant()) only = algorithm;
  }
  if (only == nullptr && !name.empty()) return false;
  only_variant.store(only, std::memory_order_relaxed);
  return true;
}

double Conv2dPlan::flops() const {
  return 2.0 * static_cast<double>(problem.k()) * static_cast<double>(problem.out_channels) *
         static_cast<double>(problem.pixels()) * static_cast<double>(problem.batch);
}

double Conv2dPlan::estimated_cycles() const {
  if (tasks() == 0) return 0;
  const double all = cost * static_cast<double>(problem.batch * problem.groups) /
                     units_a_cycle(isa->kernels.gemm->lanes);
  // As many tasks as fall to the busiest thread.
  const double rounds = std::ceil(static_cast<double>(tasks()) / threads);
  return all * rounds / static_cast<double>(tasks());
}

std::optional<Conv2dPlan> make_plan(const Conv2dProblem& asked, const Isa& isa, int threads) {
  const Conv2dProblem problem = restated(asked);
  std::optional<Conv2dPlan> best;
  double least = 0;
  for (const Algorithm* algorithm : algorithms()) {
    if (!is_allowed(*algorithm, problem.algorithm) || !algorithm->can_compute(problem, isa))
      continue;
    Conv2dPlan plan{};
    plan.problem = problem;
    plan.isa = &isa;
    plan.algorithm = algorithm;
    plan.image_tasks = problem.batch;
    plan.group_tasks = problem.groups;
    plan.filters_first =
        problem.group_filters() * problem.kernel_h * problem.kernel_w > problem.pixels();
    algorithm->block(plan);
    plan.cost = algorithm->cost(plan);
    const double compared = plan.cost * algorithm->handicap(plan);
    if (std::isinf(compared) && problem.algorithm != algorithm->name()) continue;
    if (best && compared >= least) continue;
    best = plan;
    least = compared;
  }
  if (!best) return best;
  cut(*best, threads);
  best->thread_scratch = best->algorithm->scratch(*best);
  return best;
}

}  // namespace gemmconv
