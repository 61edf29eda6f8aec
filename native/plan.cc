// SPDX-License-Identifier: MIT
// Decides how a problem is computed, by an estimate of what each candidate costs. The unit is half
// a cycle of one core: the time of one vector multiply-add, or of one vector load, on a core that
// starts two of each a cycle.
#include <algorithm>
#include <array>
#include <cmath>

#include "conv2d.h"
#include "direct.h"
#include "filter.h"
#include "gemm.h"

namespace gemmconv {
namespace {

// Fewer independent sums than this leave the multiply-add units waiting: 4 cycles latency × 2
// units.
constexpr double kChainsInFlight = 8;
// Moving one float of a patch into its panel, by how it lies in the image; measured with
// `bench:gemm` style loops on Zen 4: neighbours move by vectors, the others one by one.
constexpr double kPackNeighbours = 0.6;
constexpr double kPackScattered = 2.5;
// Storing one output: by whole vectors, or transposed through memory.
constexpr double kStoreVector = 0.2;
constexpr double kStoreTransposed = 4.0;
// Skipping a padded tap saves its multiply-adds but tests each pixel of the tile.
constexpr double kBorderTap = 1.3;
// What a thread must have to do before another is worth waking: 0.3 MFLOP pay when the pool spins.
constexpr double kFlopsPerThread = 150e3;
// Tasks may leave this much of the threads' time unused before they are cut finer.
constexpr double kTolerableImbalance = 1.05;

double tile_cost(std::ptrdiff_t rows, std::ptrdiff_t vectors) {
  const double r = static_cast<double>(rows);
  const double v = static_cast<double>(vectors);
  return std::max({r * v, r + v, kChainsInFlight});
}

// One step of k over all tiles of rows × lanes outputs.
double step_cost(const Panels& rows, const Panels& lanes) {
  double cost = 0;
  // All panels but the last few are alike: weigh the first and the last instead of walking them.
  const auto widths = [](const Panels& panels) {
    const std::ptrdiff_t n = panels.count();
    const std::ptrdiff_t wide = panels[0].width;
    const std::ptrdiff_t narrow = panels[n - 1].width;
    std::ptrdiff_t wide_count = n;
    if (narrow != wide) wide_count = panels.vector() == 1 ? panels.extent() - n * narrow : n - 1;
    return std::array<std::array<std::ptrdiff_t, 2>, 2>{
        {{wide, wide_count}, {narrow, n - wide_count}}};
  };
  for (const auto& [row_width, row_count] : widths(rows)) {
    for (const auto& [lane_width, lane_count] : widths(lanes)) {
      cost += tile_cost(row_width, lane_width / lanes.vector()) *
              static_cast<double>(row_count * lane_count);
    }
  }
  return cost;
}

double store_cost(const Conv2dProblem& p, Lanes lanes) {
  const bool vector = (lanes == Lanes::pixels) == (p.layout == Layout::nchw);
  return static_cast<double>(p.pixels() * p.group_filters()) *
         (vector ? kStoreVector : kStoreTransposed);
}

double gemm_cost(const Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  Gemm g{};
  g.kernel = plan.isa->gemm;
  g.lanes = plan.lanes;
  g.m = p.group_filters();
  const Panels filters = g.filter_panels();
  const Panels pixels = g.pixel_panels(p.pixels());
  const double k = static_cast<double>(p.k());
  const bool on_lanes = plan.lanes == Lanes::pixels;
  const bool neighbours = p.layout == Layout::nchw && p.stride_w == 1;
  const double pack =
      static_cast<double>(pixels.stored()) * k * (neighbours ? kPackNeighbours : kPackScattered);
  return k * (on_lanes ? step_cost(filters, pixels) : step_cost(pixels, filters)) + pack +
         store_cost(p, plan.lanes);
}

// Share of the taps that lie inside the image, along one axis.
double inside_share(std::ptrdiff_t extent, std::ptrdiff_t out, std::ptrdiff_t taps,
                    std::ptrdiff_t stride, std::ptrdiff_t dilation, std::ptrdiff_t pad) {
  // The ends decide; 64 taps at 64 positions from either end tell enough and bound the work.
  constexpr std::ptrdiff_t kMost = 64;
  std::ptrdiff_t outside = 0;
  for (std::ptrdiff_t t = 0; t < std::min(taps, kMost); ++t) {
    for (std::ptrdiff_t i = 0; i < std::min(out, kMost); ++i) {
      outside += i * stride + t * dilation - pad < 0;
      const std::ptrdiff_t last = (out - 1 - i) * stride + (taps - 1 - t) * dilation - pad;
      outside += last >= extent;
    }
  }
  const double all = static_cast<double>(out) * static_cast<double>(taps);
  return std::max(0.0, 1.0 - static_cast<double>(outside) / all);
}

double direct_cost(const Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  const Panels segments{p.out_width, plan.isa->direct->mr, 1};
  const double k = static_cast<double>(p.k());
  const double rows =
      static_cast<double>(p.out_height) *
      inside_share(p.height, p.out_height, p.kernel_h, p.stride_h, p.dilation_h, p.pad_top);
  const bool border = p.pad_left > 0;
  return k * rows * step_cost(segments, filter_panels(plan)) * (border ? kBorderTap : 1.0) +
         store_cost(p, plan.lanes);
}

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

// Cuts the work into tasks: pixels by cache blocks, then finer until the threads are busy alike;
// filters first where they are the larger operand, so that each thread streams its own.
void cut(Conv2dPlan& plan, int threads) {
  const Conv2dProblem& p = plan.problem;
  const std::ptrdiff_t images = p.batch * p.groups;
  const std::ptrdiff_t units = plan.pixel_units();
  const std::ptrdiff_t block = std::max<std::ptrdiff_t>(1, plan.blocks.nc / plan.pixel_unit());
  plan.pixel_parts = (units + block - 1) / block;
  plan.filter_parts = 1;
  plan.threads = static_cast<int>(
      std::clamp(plan.flops() / kFlopsPerThread, 1.0, static_cast<double>(threads)));
  if (plan.threads == 1 || images == 0) return;
  if (p.group_filters() * p.kernel_h * p.kernel_w > p.pixels()) {
    plan.filter_parts =
        even_parts(images * plan.pixel_parts, plan.threads, 1, filter_panels(plan).count());
  }
  plan.pixel_parts = even_parts(images * plan.filter_parts, plan.threads, plan.pixel_parts, units);
}

void set_scratch(Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  if (plan.algorithm == Algorithm::direct) {
    plan.thread_scratch = direct_scratch(p.kernel_w);
    return;
  }
  Gemm g{};
  g.kernel = plan.isa->gemm;
  g.lanes = plan.lanes;
  g.m = p.group_filters();
  g.k = p.k();
  g.blocks = plan.blocks;
  const Panels filters = filter_panels(plan);
  const std::ptrdiff_t panels_a_part =
      (filters.count() + plan.filter_parts - 1) / plan.filter_parts;
  const std::ptrdiff_t filters_a_part =
      std::min(panels_a_part * filters.max_width(), filters.stored());
  const std::ptrdiff_t units_a_part =
      (plan.pixel_units() + plan.pixel_parts - 1) / plan.pixel_parts;
  const std::ptrdiff_t pixels_a_part = units_a_part * plan.pixel_unit();
  plan.thread_scratch = gemm_scratch(g, filters_a_part, pixels_a_part);
}

Conv2dPlan candidate(const Conv2dProblem& problem, const Isa& isa, Algorithm algorithm,
                     Lanes lanes) {
  Conv2dPlan plan{};
  plan.problem = problem;
  plan.isa = &isa;
  plan.algorithm = algorithm;
  plan.lanes = lanes;
  plan.blocks = block_sizes(*isa.gemm, lanes, problem.group_filters(), problem.k());
  if (algorithm == Algorithm::direct) {
    plan.blocks = {problem.group_filters(), std::max<std::ptrdiff_t>(problem.k(), 1),
                   problem.out_height};
  }
  return plan;
}

}  // namespace

bool Conv2dProblem::is_padded() const {
  const auto beyond = [](std::ptrdiff_t out, std::ptrdiff_t stride, std::ptrdiff_t taps,
                         std::ptrdiff_t dilation, std::ptrdiff_t pad, std::ptrdiff_t extent) {
    return pad > 0 || (out - 1) * stride + (taps - 1) * dilation - pad >= extent;
  };
  return beyond(out_height, stride_h, kernel_h, dilation_h, pad_top, height) ||
         beyond(out_width, stride_w, kernel_w, dilation_w, pad_left, width);
}

std::ptrdiff_t Conv2dPlan::pixel_unit() const {
  return algorithm == Algorithm::gemm && lanes == Lanes::pixels ? isa->gemm->lanes : 1;
}

std::ptrdiff_t Conv2dPlan::pixel_units() const {
  if (algorithm == Algorithm::direct) return problem.out_height;
  return (problem.pixels() + pixel_unit() - 1) / pixel_unit();
}

double Conv2dPlan::flops() const {
  return 2.0 * static_cast<double>(problem.k()) * static_cast<double>(problem.out_channels) *
         static_cast<double>(problem.pixels()) * static_cast<double>(problem.batch);
}

std::optional<Conv2dPlan> make_plan(const Conv2dProblem& problem, const Isa& isa, int threads) {
  const bool may_multiply_padding = !problem.skip_padding || !problem.is_padded();
  struct Choice {
    Algorithm algorithm;
    Lanes lanes;
    double (*cost)(const Conv2dPlan&);
    bool possible;
  };
  const Choice choices[] = {
      {Algorithm::gemm, Lanes::pixels, gemm_cost, may_multiply_padding},
      {Algorithm::gemm, Lanes::channels, gemm_cost, may_multiply_padding},
      {Algorithm::direct, Lanes::channels, direct_cost, true},
  };
  const bool forced =
      problem.algorithm == Algorithm::gemm || problem.algorithm == Algorithm::direct;
  std::optional<Conv2dPlan> best;
  double least = 0;
  for (const Choice& choice : choices) {
    if (!choice.possible || (forced && choice.algorithm != problem.algorithm)) continue;
    const Conv2dPlan plan = candidate(problem, isa, choice.algorithm, choice.lanes);
    const double cost = choice.cost(plan);
    if (best && cost >= least) continue;
    best = plan;
    least = cost;
  }
  if (!best) return best;
  cut(*best, threads);
  set_scratch(*best);
  return best;
}

}  // namespace gemmconv
