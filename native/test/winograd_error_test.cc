// SPDX-License-Identifier: MIT
// How large Winograd's error is on layers as they occur, and whether a plan would take it for them.
#include <cmath>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "algorithm.h"
#include "winograd_case.h"

namespace gemmconv::test {
namespace {

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
    for (std::ptrdiff_t tap = 0; tap < c.taps * c.taps; ++tap) {
      sum = std::fma(c.at(n, ic, oh + tap / c.taps * c.dilation_h - c.pad_top,
                          ow + tap % c.taps * c.dilation_w - c.pad_left),
                     c.weights(oc, ic)[tap], sum);
    }
  }
  return sum;
}

// pad 1 keeps the size of the image under dilation 1, 2 under dilation 2, …
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
Case natural_case(const Layer& layer, std::ptrdiff_t taps, Random& random) {
  Case c{};
  c.taps = taps;
  c.batch = layer.batch;
  c.groups = 1;
  c.channels = layer.channels;
  c.filters = 8;
  c.height = layer.height;
  c.width = layer.width;
  c.pad_top = c.pad_left = layer.pad * (taps / 2);
  c.dilation_h = c.dilation_w = layer.dilation;
  c.out_height = layer.height + (layer.pad - layer.dilation) * (taps - 1);
  c.out_width = layer.width + (layer.pad - layer.dilation) * (taps - 1);
  c.epilogue = {Activation::none, -kInfinity, kInfinity};
  const auto size = [](std::ptrdiff_t count) { return static_cast<std::size_t>(count); };
  c.input = normal_floats(random, size(c.batch * c.channels * c.height * c.width), 1);
  const std::ptrdiff_t sum = c.channels * taps * taps;
  c.filter =
      normal_floats(random, size(c.filters * sum), std::sqrt(2.0 / static_cast<double>(sum)));
  c.bias.assign(80, 0.0f);
  return c;
}

// A layer with what every instruction set and tile size is compared with, computed once for all.
struct Reference {
  Case c;
  std::vector<double> exact;  // by output_index
  double direct;              // squared errors of the direct chain, summed
};

Reference reference_of(const Layer& layer, std::ptrdiff_t taps) {
  Random random(5);
  Reference reference{natural_case(layer, taps, random), {}, 0};
  const Case& c = reference.c;
  reference.exact.resize(static_cast<std::size_t>(c.batch * c.filters * c.out_pixels()));
  for (std::ptrdiff_t n = 0; n < c.batch; ++n) {
    for (std::ptrdiff_t oc = 0; oc < c.filters; ++oc) {
      for (std::ptrdiff_t p = 0; p < c.out_pixels(); ++p) {
        const std::ptrdiff_t oh = p / c.out_width, ow = p % c.out_width;
        const double exact = exact_sum(c, n, oc, oh, ow);
        reference.exact[c.output_index(n, oc, p)] = exact;
        reference.direct += std::pow(static_cast<double>(direct_sum(c, n, oc, oh, ow)) - exact, 2);
      }
    }
  }
  return reference;
}

// The root of the mean squared error over that of the direct chain.
double rms_ratio(const Reference& reference, const std::vector<float>& output) {
  double ours = 0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    ours += std::pow(static_cast<double>(output[i]) - reference.exact[i], 2);
  }
  return std::sqrt(ours / reference.direct);
}

// Whether a plan without a name for the algorithm might take it.
bool may_be_chosen(const Case& c, const Isa& isa, const WinogradTransforms& transforms) {
  const Algorithm& algorithm = transforms.taps == 5   ? winograd_f2_5x5
                               : transforms.tile == 2 ? winograd_f2
                                                      : winograd_f4;
  Conv2dPlan plan{};
  plan.isa = &isa;
  Conv2dProblem& p = plan.problem;
  p.batch = c.batch;
  p.channels = c.channels;
  p.height = c.height;
  p.width = c.width;
  p.out_channels = c.filters;
  p.kernel_h = p.kernel_w = c.taps;
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
               const Layer& layer, const Reference& reference) {
  Random random(6);
  const Case& c = reference.c;
  const double ratio = rms_ratio(reference, convolve(suite, c, isa, transforms, random));
  const std::string what = std::to_string(c.channels) + "@" + std::to_string(c.height);
  const bool chosen = may_be_chosen(c, isa, transforms);
  suite.check(!chosen || ratio <= 2, "rms ratio " + std::to_string(ratio) + " on " + what);
  const bool rare = layer.channels < 32 || layer.height < 7 || layer.pad > layer.dilation;
  suite.check(rare || chosen, "not even considered: " + what);
}

}  // namespace

void winograd_error_tests(Suite& suite) {
  std::map<int, std::vector<Reference>> references_of_taps;
  test_transforms(suite, "rms error", [&](const Isa& isa, const WinogradTransforms& transforms) {
    std::vector<Reference>& references = references_of_taps[transforms.taps];
    for (std::size_t i = 0; i < std::size(kLayers); ++i) {
      if (references.size() == i) references.push_back(reference_of(kLayers[i], transforms.taps));
      check_rms(suite, isa, transforms, kLayers[i], references[i]);
    }
  });
}

}  // namespace gemmconv::test
