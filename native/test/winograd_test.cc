// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "winograd_case.h"

namespace gemmconv::test {
namespace {

constexpr Epilogue kEpilogues[] = {{Activation::none, -kInfinity, kInfinity},
                                   {Activation::relu, 0, kInfinity},
                                   {Activation::clamp, -0.5f, 0.25f},
                                   {Activation::leaky_relu, 0.125f, kInfinity}};

// The error bound: |y - exact| ≤ factor · 2^-24 · Σ |w| · max|x|, summed over channels and taps,
// the maximum taken over the tile's inputs of the channel. It cannot be relative to the output's
// own Σ|x·w|: the tile's other inputs cancel, but leave their rounding errors. Three times the
// worst that 36000 geometries like these showed (2.8 and 16.7; of 5×5 filters 8.7).
double bound_factor(const WinogradTransforms& transforms) {
  if (transforms.taps == 5) return 26;
  return transforms.tile == 2 ? 9 : 50;
}

std::vector<float> random_floats(Random& random, std::ptrdiff_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& x : values) x = random.real();
  return values;
}

Case random_case(std::ptrdiff_t taps, Random& random) {
  Case c{};
  c.taps = taps;
  c.groups = 1 + random.below(3) / 2;
  c.batch = 1 + random.below(3);
  c.channels = c.groups * (1 + random.below(40));
  c.filters = c.groups * (1 + random.below(40));
  c.height = 1 + random.below(20);
  c.width = 1 + random.below(40);
  c.pad_top = random.below(taps + 1);
  c.pad_left = random.below(taps + 1);
  c.dilation_h = std::max<std::ptrdiff_t>(1, random.below(6) - 2);
  c.dilation_w = std::max<std::ptrdiff_t>(1, random.below(6) - 2);
  const auto outputs = [&](std::ptrdiff_t size, std::ptrdiff_t pad, std::ptrdiff_t dilation) {
    return std::max<std::ptrdiff_t>(1, size + pad + random.below(taps + 1) - (taps - 1) * dilation);
  };
  c.out_height = outputs(c.height, c.pad_top, c.dilation_h);
  c.out_width = outputs(c.width, c.pad_left, c.dilation_w);
  c.nhwc = random.below(2) == 1;
  c.epilogue = kEpilogues[random.below(4)];
  c.input = random_floats(random, c.batch * c.channels * c.height * c.width);
  c.filter = random_floats(random, c.filters * c.group_channels() * taps * taps);
  c.bias = random_floats(random, c.filters + 64);
  if (random.below(2) == 1) c.add = random_floats(random, c.batch * c.filters * c.out_pixels());
  return c;
}

double activate(double x, const Epilogue& e) {
  if (e.activation == Activation::leaky_relu) return x < 0 ? x * static_cast<double>(e.min) : x;
  return std::clamp(x, static_cast<double>(e.min), static_cast<double>(e.max));
}

// max|x| of each channel over the inputs of the tile that begins at output (oh, ow).
std::vector<float> tile_maxima(const Case& c, int side, std::ptrdiff_t n, std::ptrdiff_t oh,
                               std::ptrdiff_t ow) {
  std::vector<float> maxima;
  for (std::ptrdiff_t ic = 0; ic < c.channels; ++ic) {
    float most = 0;
    for (int i = 0; i < side * side; ++i) {
      const float x = c.at(n, ic, oh - c.pad_top + i / side * c.dilation_h,
                           ow - c.pad_left + i % side * c.dilation_w);
      most = std::max(most, std::fabs(x));
    }
    maxima.push_back(most);
  }
  return maxima;
}

// Σ |w| · max|x|.
double magnitude(const Case& c, const std::vector<float>& maxima, std::ptrdiff_t oc) {
  const std::ptrdiff_t first = oc / c.group_filters() * c.group_channels();
  double sum = 0;
  for (std::ptrdiff_t ic = 0; ic < c.group_channels(); ++ic) {
    for (std::ptrdiff_t tap = 0; tap < c.taps * c.taps; ++tap) {
      sum += static_cast<double>(maxima[static_cast<std::size_t>(first + ic)]) *
             static_cast<double>(std::fabs(c.weights(oc, ic)[tap]));
    }
  }
  return sum;
}

// The error of one output beyond the roundings of its epilogue.
double error_of(const Case& c, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t pixel,
                const std::vector<float>& output) {
  const std::size_t index = c.output_index(n, oc, pixel);
  const double rest = static_cast<double>(c.bias[static_cast<std::size_t>(oc)]) +
                      (c.add.empty() ? 0.0 : static_cast<double>(c.add[index]));
  const double sum = exact_sum(c, n, oc, pixel / c.out_width, pixel % c.out_width);
  const double exact = activate(sum + rest, c.epilogue);
  const double error = std::fabs(static_cast<double>(output[index]) - exact);
  return std::isnan(error) ? kInfinity : error - 0x1p-23 * (std::fabs(sum) + 2 * std::fabs(rest));
}

// The largest error of the case in units of 2^-24 · magnitude, of one filter in five.
double worst_error(const Case& c, const WinogradTransforms& transforms,
                   const std::vector<float>& output) {
  double worst = 0;
  const std::ptrdiff_t tile_h = transforms.tile * c.dilation_h;
  const std::ptrdiff_t tile_w = transforms.tile * c.dilation_w;
  for (std::ptrdiff_t n = 0; n < c.batch; ++n) {
    for (std::ptrdiff_t oh = 0; oh < c.out_height; ++oh) {
      for (std::ptrdiff_t ow = 0; ow < c.out_width; ++ow) {
        // Every dilation-th output belongs to the tile that begins here.
        if (oh % tile_h >= c.dilation_h || ow % tile_w >= c.dilation_w) continue;
        const std::vector<float> maxima = tile_maxima(c, transforms.side, n, oh, ow);
        for (std::ptrdiff_t oc = 0; oc < c.filters; oc += 5) {
          const double unit = 0x1p-24 * magnitude(c, maxima, oc) + 1e-30;
          for (std::ptrdiff_t i = oh; i < std::min(oh + tile_h, c.out_height); i += c.dilation_h) {
            for (std::ptrdiff_t j = ow; j < std::min(ow + tile_w, c.out_width); j += c.dilation_w) {
              worst = std::max(worst, error_of(c, n, oc, i * c.out_width + j, output) / unit);
            }
          }
        }
      }
    }
  }
  return worst;
}

void check_case(Suite& suite, const Isa& isa, const WinogradTransforms& transforms,
                Random& random) {
  const Case c = random_case(transforms.taps, random);
  const std::vector<float> output = convolve(suite, c, isa, transforms, random);
  const std::vector<float> again = convolve(suite, c, isa, transforms, random);
  const std::string what = "c=" + std::to_string(c.channels) + " oc=" + std::to_string(c.filters) +
                           " h=" + std::to_string(c.height) + " w=" + std::to_string(c.width) +
                           (c.nhwc ? " nhwc" : " nchw");
  suite.check(std::memcmp(output.data(), again.data(), output.size() * sizeof(float)) == 0,
              "bits depend on how the work is cut: " + what);
  const double error = worst_error(c, transforms, output);
  suite.check(error <= bound_factor(transforms), "error " + std::to_string(error) + " " + what);
}

}  // namespace

void winograd_tests(Suite& suite) {
  test_transforms(suite, "any geometry", [&](const Isa& isa, const WinogradTransforms& transforms) {
    Random random(11);
    for (int repeat = 0; repeat < suite.repeats(100); ++repeat) {
      check_case(suite, isa, transforms, random);
    }
  });
}

}  // namespace gemmconv::test
