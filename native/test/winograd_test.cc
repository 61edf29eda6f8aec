// SPDX-License-Identifier: MIT
#include "winograd.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "algorithm.h"
#include "check.h"
#include "dispatch.h"

namespace gemmconv::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kUntouched = 12345.0f;
constexpr Epilogue kEpilogues[] = {{Activation::none, -kInfinity, kInfinity},
                                   {Activation::relu, 0, kInfinity},
                                   {Activation::clamp, -0.5f, 0.25f},
                                   {Activation::leaky_relu, 0.125f, kInfinity}};

// The error bound: |y - exact| ≤ factor · 2^-24 · Σ |w| · max|x|, summed over channels and taps,
// the maximum taken over the tile's inputs of the channel. It cannot be relative to the output's
// own Σ|x·w|: the tile's other inputs cancel, but leave their rounding errors. Three times the
// worst that 36000 geometries like these showed (2.8 and 16.7).
double bound_factor(const WinogradTransforms& transforms) { return transforms.tile == 2 ? 9 : 50; }

std::vector<float> random_floats(Random& random, std::ptrdiff_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& x : values) x = random.real();
  return values;
}

struct Case {
  std::ptrdiff_t batch, channels, height, width, filters, groups, pad_top, pad_left;
  std::ptrdiff_t dilation_h, dilation_w;
  std::ptrdiff_t out_height, out_width;
  bool nhwc;
  Epilogue epilogue;
  std::vector<float> input, filter, bias, add;

  std::ptrdiff_t group_channels() const { return channels / groups; }
  std::ptrdiff_t group_filters() const { return filters / groups; }
  std::ptrdiff_t out_pixels() const { return out_height * out_width; }
  std::size_t input_index(std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t pixel) const {
    const std::ptrdiff_t pixels = height * width;
    return static_cast<std::size_t>(nhwc ? (n * pixels + pixel) * channels + c
                                         : (n * channels + c) * pixels + pixel);
  }
  std::size_t output_index(std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t pixel) const {
    return static_cast<std::size_t>(nhwc ? (n * out_pixels() + pixel) * filters + oc
                                         : (n * filters + oc) * out_pixels() + pixel);
  }
  // 0 where padded.
  float at(std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t h, std::ptrdiff_t w) const {
    if (h < 0 || h >= height || w < 0 || w >= width) return 0;
    return input[input_index(n, c, h * width + w)];
  }
  const float* weights(std::ptrdiff_t oc, std::ptrdiff_t c) const {
    return filter.data() + (oc * group_channels() + c) * 9;
  }
};

Case random_case(Random& random) {
  Case c{};
  c.groups = 1 + random.below(3) / 2;
  c.batch = 1 + random.below(3);
  c.channels = c.groups * (1 + random.below(40));
  c.filters = c.groups * (1 + random.below(40));
  c.height = 1 + random.below(20);
  c.width = 1 + random.below(40);
  c.pad_top = random.below(4);
  c.pad_left = random.below(4);
  c.dilation_h = std::max<std::ptrdiff_t>(1, random.below(6) - 2);
  c.dilation_w = std::max<std::ptrdiff_t>(1, random.below(6) - 2);
  const auto outputs = [&](std::ptrdiff_t size, std::ptrdiff_t pad, std::ptrdiff_t dilation) {
    return std::max<std::ptrdiff_t>(1, size + pad + random.below(4) - 2 * dilation);
  };
  c.out_height = outputs(c.height, c.pad_top, c.dilation_h);
  c.out_width = outputs(c.width, c.pad_left, c.dilation_w);
  c.nhwc = random.below(2) == 1;
  c.epilogue = kEpilogues[random.below(4)];
  c.input = random_floats(random, c.batch * c.channels * c.height * c.width);
  c.filter = random_floats(random, c.filters * c.group_channels() * 9);
  c.bias = random_floats(random, c.filters + 64);
  if (random.below(2) == 1) c.add = random_floats(random, c.batch * c.filters * c.out_pixels());
  return c;
}

Winograd group_of(const Case& c, std::ptrdiff_t group, const Isa& isa,
                  const WinogradTransforms& transforms, float* output) {
  Winograd w{};
  w.kernel = isa.kernels.winograd;
  w.vectors = isa.kernels.channel_vectors;
  w.transforms = &transforms;
  w.filters = c.group_filters();
  w.channels = c.group_channels();
  const std::ptrdiff_t column = c.nhwc ? c.channels : 1;
  const std::ptrdiff_t channel = c.nhwc ? 1 : c.height * c.width;
  w.patches = {c.input.data() + group * w.channels * channel,
               channel,
               c.width * column,
               column,
               c.height,
               c.width,
               c.out_width,
               3,
               3,
               1,
               1,
               c.dilation_h,
               c.dilation_w,
               c.pad_top,
               c.pad_left};
  w.out_height = c.out_height;
  const std::ptrdiff_t first = group * w.filters;
  const std::ptrdiff_t offset = first * (c.nhwc ? 1 : c.out_pixels());
  w.destination = {output + offset,
                   c.add.empty() ? nullptr : c.add.data() + offset,
                   c.nhwc ? 1 : c.out_pixels(),
                   c.nhwc ? c.filters : 1,
                   c.bias.data() + first,
                   c.epilogue};
  w.batch = c.batch;
  w.image_stride = c.channels * c.height * c.width;
  w.destination_stride = c.filters * c.out_pixels();
  return w;
}

// The whole convolution, each group cut at random into blocks and into four tasks.
std::vector<float> convolve(Suite& suite, const Case& c, const Isa& isa,
                            const WinogradTransforms& transforms, Random& random) {
  constexpr std::size_t kCanary = 64;
  std::vector<float> output(
      static_cast<std::size_t>(c.batch * c.filters * c.out_pixels()) + 2 * kCanary, kUntouched);
  for (std::ptrdiff_t group = 0; group < c.groups; ++group) {
    Winograd w = group_of(c, group, isa, transforms, output.data() + kCanary);
    w.block_spans = 1 + random.below(70);
    const Panels panels = w.filter_panels();
    const std::ptrdiff_t u_size = transforms.side * transforms.side * w.channels * panels.stored();
    std::vector<float> u(static_cast<std::size_t>(u_size) + 1, kUntouched);
    winograd_pack({c.weights(group * w.filters, 0), w.channels * 9, 9, 3, 1, w.channels, 3, 3},
                  panels, transforms, u.data());
    suite.check(u.back() == kUntouched, "wrote past the packed filter");
    w.filter_packed = u.data();
    std::vector<float> scratch(static_cast<std::size_t>(winograd_scratch(w)) + 1, kUntouched);
    const std::ptrdiff_t panel = random.below(panels.count() + 1);
    const std::ptrdiff_t span = random.below(w.spans() + 1);
    for (const Range spans : {Range{0, span}, Range{span, w.spans()}}) {
      winograd(w, {0, panel}, spans, scratch.data());
      winograd(w, {panel, panels.count()}, spans, scratch.data());
    }
    suite.check(scratch.back() == kUntouched, "wrote past its scratch");
  }
  const auto untouched = [](float x) { return x == kUntouched; };
  suite.check(std::all_of(output.begin(), output.begin() + kCanary, untouched) &&
                  std::all_of(output.end() - kCanary, output.end(), untouched),
              "wrote outside the output");
  return {output.begin() + kCanary, output.end() - kCanary};
}

double activate(double x, const Epilogue& e) {
  if (e.activation == Activation::leaky_relu) return x < 0 ? x * static_cast<double>(e.min) : x;
  return std::clamp(x, static_cast<double>(e.min), static_cast<double>(e.max));
}

// Before bias, add and activation, in double.
double exact_sum(const Case& c, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh,
                 std::ptrdiff_t ow) {
  const std::ptrdiff_t first = oc / c.group_filters() * c.group_channels();
  double sum = 0;
  for (std::ptrdiff_t ic = 0; ic < c.group_channels(); ++ic) {
    const float* w = c.weights(oc, ic);
    for (std::ptrdiff_t tap = 0; tap < 9; ++tap) {
      sum += static_cast<double>(w[tap]) *
             static_cast<double>(c.at(n, first + ic, oh + tap / 3 * c.dilation_h - c.pad_top,
                                      ow + tap % 3 * c.dilation_w - c.pad_left));
    }
  }
  return sum;
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
    for (int tap = 0; tap < 9; ++tap) {
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
  const Case c = random_case(random);
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

// Box and Muller.
std::vector<float> normal_floats(Random& random, std::size_t count, double deviation) {
  std::vector<float> values(count);
  for (float& x : values) {
    const double u = (static_cast<double>(random.next() >> 8) + 0.5) * 0x1p-24;
    const double v = static_cast<double>(random.next() >> 8) * 0x1p-24;
    x = static_cast<float>(deviation * std::sqrt(-2 * std::log(u)) * std::cos(6.283185307 * v));
  }
  return values;
}

// The chain of fused multiply-adds that the exact algorithms compute.
float direct_sum(const Case& c, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh,
                 std::ptrdiff_t ow) {
  float sum = 0;
  for (std::ptrdiff_t ic = 0; ic < c.channels; ++ic) {
    for (std::ptrdiff_t tap = 0; tap < 9; ++tap) {
      sum = std::fma(c.at(n, ic, oh + tap / 3 * c.dilation_h - c.pad_top,
                          ow + tap % 3 * c.dilation_w - c.pad_left),
                     c.weights(oc, ic)[tap], sum);
    }
  }
  return sum;
}

struct Layer {
  std::ptrdiff_t batch, channels, height, width, pad, dilation;
};

constexpr Layer kLayers[] = {
    {1, 3, 37, 29, 1, 1},  {1, 8, 28, 28, 1, 1},   {2, 12, 17, 19, 0, 1}, {1, 16, 28, 28, 1, 1},
    {1, 16, 31, 33, 0, 1}, {1, 16, 33, 28, 2, 1},  {1, 24, 29, 27, 1, 1}, {1, 32, 28, 28, 1, 1},
    {4, 32, 13, 13, 2, 1}, {12, 40, 7, 7, 1, 1},   {1, 48, 28, 28, 2, 2}, {2, 48, 27, 29, 3, 3},
    {30, 64, 4, 4, 1, 1},  {20, 64, 5, 5, 1, 1},   {60, 64, 2, 2, 1, 1},  {99, 64, 1, 1, 1, 1},
    {6, 100, 9, 9, 0, 1},  {3, 128, 14, 14, 1, 1}, {8, 256, 7, 7, 1, 1},  {20, 512, 4, 4, 1, 1},
    {6, 512, 7, 7, 1, 1},  {40, 512, 2, 2, 1, 1},  {10, 512, 4, 4, 2, 1}, {3, 512, 13, 10, 0, 1},
};

// Inputs N(0, 1), weights as He initialises them.
Case natural_case(const Layer& layer, Random& random) {
  Case c{};
  c.batch = layer.batch;
  c.groups = 1;
  c.channels = layer.channels;
  c.filters = 8;
  c.height = layer.height;
  c.width = layer.width;
  c.pad_top = c.pad_left = layer.pad;
  c.dilation_h = c.dilation_w = layer.dilation;
  c.out_height = layer.height + 2 * (layer.pad - layer.dilation);
  c.out_width = layer.width + 2 * (layer.pad - layer.dilation);
  c.epilogue = kEpilogues[0];
  const auto size = [](std::ptrdiff_t count) { return static_cast<std::size_t>(count); };
  c.input = normal_floats(random, size(c.batch * c.channels * c.height * c.width), 1);
  c.filter = normal_floats(random, size(c.channels * c.filters * 9),
                           std::sqrt(2.0 / static_cast<double>(c.channels * 9)));
  c.bias.assign(80, 0.0f);
  return c;
}

// The root of the mean squared error over that of the direct chain.
double rms_ratio(const Case& c, const std::vector<float>& output) {
  double ours = 0, direct = 0;
  for (std::ptrdiff_t n = 0; n < c.batch; ++n) {
    for (std::ptrdiff_t oc = 0; oc < c.filters; ++oc) {
      for (std::ptrdiff_t p = 0; p < c.out_pixels(); ++p) {
        const std::ptrdiff_t oh = p / c.out_width, ow = p % c.out_width;
        const double exact = exact_sum(c, n, oc, oh, ow);
        ours += std::pow(static_cast<double>(output[c.output_index(n, oc, p)]) - exact, 2);
        direct += std::pow(static_cast<double>(direct_sum(c, n, oc, oh, ow)) - exact, 2);
      }
    }
  }
  return std::sqrt(ours / direct);
}

// Whether a plan without a name for the algorithm might take it.
bool may_be_chosen(const Case& c, const Isa& isa, const WinogradTransforms& transforms) {
  const Algorithm& algorithm = transforms.tile == 2 ? winograd_f2 : winograd_f4;
  Conv2dPlan plan{};
  plan.isa = &isa;
  Conv2dProblem& p = plan.problem;
  p.batch = c.batch;
  p.channels = c.channels;
  p.height = c.height;
  p.width = c.width;
  p.out_channels = c.filters;
  p.kernel_h = p.kernel_w = 3;
  p.groups = p.stride_h = p.stride_w = 1;
  p.dilation_h = p.dilation_w = c.dilation_h;
  p.pad_top = p.pad_left = c.pad_top;
  p.out_height = c.out_height;
  p.out_width = c.out_width;
  algorithm.block(plan);
  return std::isfinite(algorithm.handicap(plan));
}

// On layers as they occur: within twice the error of a direct sum, or never chosen.
void check_rms(Suite& suite, const Isa& isa, const WinogradTransforms& transforms,
               const Layer& layer) {
  Random random(5);
  const Case c = natural_case(layer, random);
  const double ratio = rms_ratio(c, convolve(suite, c, isa, transforms, random));
  const std::string what = std::to_string(c.channels) + "@" + std::to_string(c.height);
  const bool chosen = may_be_chosen(c, isa, transforms);
  suite.check(!chosen || ratio <= 2, "rms ratio " + std::to_string(ratio) + " on " + what);
  const bool rare = layer.channels < 32 || layer.height < 7 || layer.pad > layer.dilation;
  suite.check(rare || chosen, "not even considered: " + what);
}

}  // namespace

void winograd_tests(Suite& suite) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    for (const WinogradTransforms* transforms :
         {&isa.kernels.winograd->f2, &isa.kernels.winograd->f4}) {
      const std::string name =
          "winograd f" + std::to_string(transforms->tile) + " on " + isa.name + ", ";
      suite.test(name + "any geometry", [&] {
        Random random(11);
        for (int repeat = 0; repeat < 100; ++repeat) {
          check_case(suite, isa, *transforms, random);
        }
      });
      suite.test(name + "rms error", [&] {
        for (const Layer& layer : kLayers) check_rms(suite, isa, *transforms, layer);
      });
    }
  }
}

}  // namespace gemmconv::test
