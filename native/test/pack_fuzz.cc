// SPDX-License-Identifier: MIT
// Small problems of any geometry, packed and run in buffers that are exactly as large as they must
// be, on the calling thread and others. The values are small integers, so every algorithm but
// Winograd, whose error is bounded, gives the one right sum.
#include <cmath>
#include <cstdlib>
#include <memory>

#include "algorithm.h"
#include "filter.h"
#include "fuzz.h"
#include "system/buffer.h"

namespace gemmconv::test {
namespace {

constexpr double kMacsMost = 200e3;

float integer_at(std::ptrdiff_t i, unsigned salt) {
  return static_cast<float>((static_cast<unsigned>(i) * 2654435761u + salt) >> 29) - 3.0f;
}

// As large as asked, at a cache line's start, its end watched.
struct Floats {
  explicit Floats(std::size_t count)
      : buffer(std::max<std::size_t>(count * sizeof(float), 1)), data(buffer.floats()) {}
  Buffer buffer;
  float* data;
};

Floats integers(std::ptrdiff_t count, unsigned salt) {
  Floats floats(static_cast<std::size_t>(count));
  for (std::ptrdiff_t i = 0; i < count; ++i) floats.data[i] = integer_at(i, salt);
  return floats;
}

constexpr unsigned kInput = 1, kFilter = 2, kBias = 3, kAdd = 4;

std::ptrdiff_t image_at(Layout layout, std::ptrdiff_t channels, std::ptrdiff_t height,
                        std::ptrdiff_t width, std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t h,
                        std::ptrdiff_t w) {
  return layout == Layout::nchw ? ((n * channels + c) * height + h) * width + w
                                : ((n * height + h) * width + w) * channels + c;
}

float right_sum(const Conv2dProblem& p, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh,
                std::ptrdiff_t ow) {
  const std::ptrdiff_t cg = p.group_channels();
  float sum = 0;
  for (std::ptrdiff_t c = 0; c < cg; ++c) {
    for (std::ptrdiff_t kh = 0; kh < p.kernel_h; ++kh) {
      const std::ptrdiff_t ih = oh * p.stride_h + kh * p.dilation_h - p.pad_top;
      if (ih < 0 || ih >= p.height) continue;
      for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
        const std::ptrdiff_t iw = ow * p.stride_w + kw * p.dilation_w - p.pad_left;
        if (iw < 0 || iw >= p.width) continue;
        const std::ptrdiff_t channel = oc / p.group_filters() * cg + c;
        const std::ptrdiff_t weight = p.filter_layout == FilterLayout::oihw
                                          ? ((oc * cg + c) * p.kernel_h + kh) * p.kernel_w + kw
                                          : ((kh * p.kernel_w + kw) * cg + c) * p.out_channels + oc;
        sum += integer_at(image_at(p.layout, p.channels, p.height, p.width, n, channel, ih, iw),
                          kInput) *
               integer_at(weight, kFilter);
      }
    }
  }
  return sum;
}

void check(const Conv2dProblem& p, const float* output, float tolerance) {
  for (std::ptrdiff_t n = 0; n < p.batch; ++n) {
    for (std::ptrdiff_t oc = 0; oc < p.out_channels; ++oc) {
      for (std::ptrdiff_t oh = 0; oh < p.out_height; ++oh) {
        for (std::ptrdiff_t ow = 0; ow < p.out_width; ++ow) {
          const std::ptrdiff_t i =
              image_at(p.layout, p.out_channels, p.out_height, p.out_width, n, oc, oh, ow);
          const float right =
              right_sum(p, n, oc, oh, ow) + integer_at(oc, kBias) + integer_at(i, kAdd);
          if (!(std::fabs(output[i] - right) <= tolerance)) std::abort();
        }
      }
    }
  }
}

void pack_and_run(const Conv2dPlan& plan) {
  const Conv2dProblem& p = plan.problem;
  const std::ptrdiff_t outputs = p.batch * p.out_channels * p.pixels();
  const Floats input = integers(p.batch * p.channels * p.height * p.width, kInput);
  const Floats filter = integers(p.k() * p.out_channels, kFilter);
  const Floats bias = integers(p.out_channels, kBias);
  const Floats add = integers(outputs, kAdd);
  const Floats packed(packed_bytes(plan) / sizeof(float));
  const Floats workspace(plan.workspace_bytes() / sizeof(float));
  const Floats output(static_cast<std::size_t>(outputs));
  pack(plan, filter.data, bias.data, packed.data);
  run(plan, {input.data, packed.data, add.data, output.data}, workspace.data);
  // 50 · 2^-24 · Σ|w| · max|x|
  const float bound = 50 * 0x1p-24f * static_cast<float>(p.k()) * 4 * 4;
  check(p, output.data, plan.algorithm->is_exact() ? 0.0f : bound);
}

}  // namespace
}  // namespace gemmconv::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gemmconv;
  test::Bytes bytes(data, size);
  const Isa& isa = isa_at(static_cast<int>(bytes.below(isa_count())));
  if (!isa.runs_here()) return 0;
  const int threads = 1 + static_cast<int>(bytes.below(4));
  const auto problem = test::problem_of(bytes, 8);
  if (!problem) return 0;
  const Conv2dProblem& p = *problem;
  if (test::product({p.k(), p.out_channels, p.pixels(), p.batch}) > test::kMacsMost) return 0;
  if (test::product({p.batch, p.channels, p.height, p.width}) > test::kMacsMost) return 0;
  const auto plan = make_plan(p, isa, threads);
  if (plan) test::pack_and_run(*plan);
  return 0;
}
