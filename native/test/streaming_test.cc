// SPDX-License-Identifier: MIT
// Outputs that go past the caches, against the same ones that do not: only large layers' do, and no
// reference would compute these in time.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "depthwise/depthwise_pixels.h"
#include "dispatch.h"
#include "system/buffer.h"

namespace gemmconv::test {
namespace {

constexpr std::ptrdiff_t kMargin = 32;  // floats before and after what may be written
constexpr float kUntouched = 12345.0f;

struct Case {
  DepthwisePixels depthwise;
  std::ptrdiff_t out_height, outputs;
};

// Rows of whole lines.
Case random_case(Random& random, const Kernels& kernels) {
  const float infinity = std::numeric_limits<float>::infinity();
  Case c{};
  DepthwisePixels& d = c.depthwise;
  Patches& p = d.patches;
  d.kernel = kernels.depthwise_pixels;
  d.planes = kernels.depthwise_planes;
  d.strip = kernels.strip;
  d.channels = 1 + random.below(5);
  const bool is_interleaved = random.below(2) == 0;
  d.interleaved = is_interleaved ? d.channels : 1;
  d.multiplier = is_interleaved ? 1 : 1 + random.below(2);
  p.kernel_h = p.kernel_w = 3 + 2 * random.below(2);
  p.stride_h = p.stride_w = 1 + random.below(2);
  p.dilation_h = p.dilation_w = 1 + random.below(8) / 7;
  p.pad_top = random.below(4);
  p.pad_left = random.below(8) == 0 ? random.below(60) : random.below(6);
  p.out_width = 16 * (random.below(4) == 0 ? 48 : 6 + random.below(30));
  c.out_height = 1 + random.below(80);  // smaller planes of nchw go another way
  const std::ptrdiff_t reach = (p.kernel_h - 1) * p.dilation_h + 1;
  p.width = (p.out_width - 1) * p.stride_w + reach - p.pad_left - random.below(6);
  p.height = (c.out_height - 1) * p.stride_h + reach - random.below(3);
  if (p.height < 1) p.height = 1;
  p.column_stride = d.interleaved;
  p.row_stride = p.width * d.interleaved;
  p.channel_stride = is_interleaved ? 1 : p.width * p.height;
  c.outputs = d.channels * d.multiplier * c.out_height * p.out_width;
  d.destination.filter_stride = is_interleaved ? 1 : c.out_height * p.out_width;
  d.destination.pixel_stride = d.interleaved;
  d.destination.epilogue = {Activation::clamp, random.below(2) == 0 ? -infinity : 0.0f, infinity};
  return c;
}

std::vector<float> random_floats(Random& random, std::ptrdiff_t count) {
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& x : floats) x = random.real();
  return floats;
}

// What lies around the outputs included. Scratch is what a plan takes, which knows no output.
std::vector<float> computed(const Case& c, bool is_streamed, std::ptrdiff_t offset) {
  DepthwisePixels d = c.depthwise;
  d.is_streamed = is_streamed;
  const auto scratch_floats = static_cast<std::size_t>(depthwise_pixels_scratch(d));
  const Buffer scratch((scratch_floats + 1) * sizeof(float));
  scratch.floats()[scratch_floats] = kUntouched;
  const std::size_t floats = static_cast<std::size_t>(c.outputs + 2 * kMargin);
  const Buffer memory((floats + 16) * sizeof(float));
  float* const around = memory.floats() + offset;
  for (std::size_t i = 0; i < floats; ++i) around[i] = kUntouched;
  d.destination.c = around + kMargin;
  const Range channels{0, d.channels};
  const std::ptrdiff_t half = c.out_height / 2;
  depthwise_pixels(d, channels, {0, half}, scratch.floats());
  depthwise_pixels(d, channels, {half, c.out_height}, scratch.floats());
  std::vector<float> result(around, around + floats);
  result.push_back(scratch.floats()[scratch_floats]);
  return result;
}

}  // namespace

void streaming_tests(Suite& suite) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    suite.test(std::string("streamed outputs are the same ones on ") + isa.name, [&] {
      Random random(5);
      for (int repeat = 0; repeat < suite.repeats(300); ++repeat) {
        Case c = random_case(random, isa.kernels);
        DepthwisePixels& d = c.depthwise;
        const Patches& p = d.patches;
        const std::vector<float> image = random_floats(random, d.channels * p.height * p.width);
        const std::ptrdiff_t filters = d.channels * d.multiplier;
        const std::vector<float> weights = random_floats(random, filters * p.kernel_h * p.kernel_w);
        const std::vector<float> bias = random_floats(random, filters + 16);
        d.patches.image = image.data();
        d.weights = weights.data();
        d.destination.bias = bias.data();
        const std::vector<float> expected = computed(c, false, 0);
        const std::vector<float> streamed = computed(c, true, repeat % 16);
        suite.check(
            std::memcmp(expected.data(), streamed.data(), expected.size() * sizeof(float)) == 0,
            "case " + std::to_string(repeat));
        suite.check(streamed.front() == kUntouched && streamed.back() == kUntouched,
                    "written beside, case " + std::to_string(repeat));
      }
    });
  }
}

}  // namespace gemmconv::test
