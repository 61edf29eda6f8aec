// SPDX-License-Identifier: MIT
// Every tap of every output, found in a strip where locate_taps says, against the image itself.
#include "strip.h"

#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"

namespace gemmconv::test {
namespace {

struct Case {
  std::ptrdiff_t channels;
  Patches patches;
  std::ptrdiff_t rows, columns;  // of a strip
  std::ptrdiff_t oh, ow, rows_filled;
};

Case random_case(Random& random, const float* image) {
  Case c{};
  Patches& p = c.patches;
  c.channels = 1 + random.below(9);
  p.height = 1 + random.below(12);
  p.width = 1 + random.below(140);
  p.kernel_h = 1 + random.below(4);
  p.kernel_w = 1 + random.below(5);
  p.stride_h = 1 + random.below(4);
  p.stride_w = 1 + random.below(4);
  p.dilation_h = 1 + random.below(3);
  p.dilation_w = 1 + random.below(6);
  p.pad_top = random.below(4);
  p.pad_left = random.below(30);
  const bool nhwc = random.below(2) == 0;
  p.column_stride = nhwc ? c.channels : 1;
  p.row_stride = p.width * p.column_stride;
  p.channel_stride = nhwc ? 1 : p.width * p.height;
  p.image = image;
  c.rows = 1 + random.below(5);
  c.columns = 1 + random.below(40);
  c.oh = random.below(4);
  c.ow = random.below(20);
  c.rows_filled = 1 + random.below(c.rows);
  return c;
}

float pixel(const Case& c, std::ptrdiff_t channel, std::ptrdiff_t ih, std::ptrdiff_t iw) {
  const Patches& p = c.patches;
  if (ih < 0 || ih >= p.height || iw < 0 || iw >= p.width) return 0.0f;
  return p.image[channel * p.channel_stride + ih * p.row_stride + iw * p.column_stride];
}

bool holds_every_tap(const Case& c, const Strip& strip, const float* floats,
                     const std::vector<std::ptrdiff_t>& taps) {
  const Patches& p = c.patches;
  const std::ptrdiff_t window = p.kernel_h * p.kernel_w;
  for (std::size_t k = 0; k < taps.size(); ++k) {
    const auto step = static_cast<std::ptrdiff_t>(k);
    const std::ptrdiff_t kh = step % window / p.kernel_w;
    const std::ptrdiff_t kw = step % p.kernel_w;
    for (std::ptrdiff_t i = 0; i < c.rows_filled; ++i) {
      for (std::ptrdiff_t j = 0; j < c.columns; ++j) {
        const float expected =
            pixel(c, step / window, (c.oh + i) * p.stride_h + kh * p.dilation_h - p.pad_top,
                  (c.ow + j) * p.stride_w + kw * p.dilation_w - p.pad_left);
        if (floats[taps[k] + i * strip.row_stride() + j] != expected) return false;
      }
    }
  }
  return true;
}

}  // namespace

void strip_tests(Suite& suite) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    suite.test(std::string("a strip holds every tap on ") + isa.name, [&] {
      Random random(11);
      std::vector<float> image(9 * 12 * 140);
      for (float& x : image) x = random.real();
      for (int repeat = 0; repeat < 2000; ++repeat) {
        Case c = random_case(random, nullptr);
        // Exactly as large as the image, for sanitizers to watch.
        const std::vector<float> exact(
            image.begin(), image.begin() + c.channels * c.patches.height * c.patches.width);
        c.patches.image = exact.data();
        const Strip strip(isa.kernels.strip, c.patches, c.channels, c.rows, c.columns);
        std::vector<float> floats(static_cast<std::size_t>(strip.floats()), -9.0f);
        std::vector<std::ptrdiff_t> taps(
            static_cast<std::size_t>(c.channels * c.patches.kernel_h * c.patches.kernel_w));
        strip.locate_taps(taps.data());
        strip.fill(c.oh, c.rows_filled, c.ow, floats.data());
        suite.check(holds_every_tap(c, strip, floats.data(), taps),
                    "repeat " + std::to_string(repeat));
      }
    });
  }
}

}  // namespace gemmconv::test
