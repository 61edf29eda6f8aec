// SPDX-License-Identifier: MIT
#include "winograd_case.h"

#include <algorithm>

namespace gemmconv::test {
namespace {

constexpr float kUntouched = 12345.0f;

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
               c.taps,
               c.taps,
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

}  // namespace

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
    const std::ptrdiff_t window = c.taps * c.taps;
    winograd_pack({c.weights(group * w.filters, 0), w.channels * window, window, c.taps, 1,
                   w.channels, c.taps, c.taps},
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

void test_transforms(Suite& suite, const std::string& what,
                     const std::function<void(const Isa&, const WinogradTransforms&)>& body) {
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    for (const WinogradTransforms* transforms :
         {&isa.kernels.winograd->f2, &isa.kernels.winograd->f4, &isa.kernels.winograd->f2_5x5}) {
      const std::string form =
          std::to_string(transforms->tile) + " of " + std::to_string(transforms->taps) + " taps";
      suite.test("winograd f" + form + " on " + isa.name + ", " + what,
                 [&] { body(isa, *transforms); });
    }
  }
}

double exact_sum(const Case& c, std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh,
                 std::ptrdiff_t ow) {
  const std::ptrdiff_t first = oc / c.group_filters() * c.group_channels();
  double sum = 0;
  for (std::ptrdiff_t ic = 0; ic < c.group_channels(); ++ic) {
    const float* w = c.weights(oc, ic);
    for (std::ptrdiff_t tap = 0; tap < c.taps * c.taps; ++tap) {
      sum += static_cast<double>(w[tap]) *
             static_cast<double>(c.at(n, first + ic, oh + tap / c.taps * c.dilation_h - c.pad_top,
                                      ow + tap % c.taps * c.dilation_w - c.pad_left));
    }
  }
  return sum;
}

}  // namespace gemmconv::test
