// SPDX-License-Identifier: MIT
// Whole convolutions through plan, pack and run, every exact variant, against one chain of fmaf
// an output. All buffers are exactly as large as they must be, for sanitizers to watch.
#include "conv2d.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "algorithm.h"
#include "check.h"
#include "filter.h"

namespace gemmconv::test {
namespace {

std::ptrdiff_t out_extent(std::ptrdiff_t extent, std::ptrdiff_t pads, std::ptrdiff_t taps,
                          std::ptrdiff_t stride, std::ptrdiff_t dilation) {
  const std::ptrdiff_t room = extent + pads - dilation * (taps - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

// Padding that the output's size alone knows of.
struct PadsBelow {
  std::ptrdiff_t bottom, right;
};

void set_extents(Conv2dProblem& p, bool depthwise, Random& random) {
  p.batch = 1 + random.below(2);
  p.groups = 1 + random.below(depthwise ? (random.below(4) == 0 ? 130 : 40) : 3);
  p.channels = p.groups * (depthwise ? 1 : random.below(6));
  p.out_channels = p.groups * (1 + random.below(depthwise ? 3 : 40));
  p.height = 1 + random.below(depthwise && random.below(6) == 0 ? 70 : 10);
  p.width = 1 + random.below(random.below(4) == 0 ? 150 : 20);
  p.kernel_h = 1 + random.below(depthwise ? 8 : 4);
  p.kernel_w = 1 + random.below(depthwise ? 8 : 4);
  p.stride_h = 1 + random.below(3);
  p.stride_w = 1 + random.below(3);
}

// 3×3 and 5×5, whose runs of rows are the lower the wider the image is.
void make_square(Conv2dProblem& p, Random& random) {
  p.kernel_h = p.kernel_w = 3 + 2 * random.below(2);
  p.stride_h = p.stride_w = 1 + random.below(2);
  if (random.below(8) > 0) return;
  p.channels = p.out_channels = p.groups = 1 + random.below(2);
  p.height = 20 + random.below(40);
  p.width = 300 + random.below(300);
}

void make_groups_that_share_vectors(Conv2dProblem& p, Random& random) {
  p.groups = 1 + random.below(12);
  p.channels = p.out_channels = p.groups << (1 + random.below(4));
  p.kernel_w = 3;
}

PadsBelow set_dilation_and_padding(Conv2dProblem& p, bool depthwise, Random& random) {
  p.dilation_h = 1 + random.below(2);
  p.dilation_w = 1 + random.below(3);
  p.pad_top = random.below(4);
  p.pad_left = random.below(depthwise && random.below(4) == 0 ? 300 : 5);
  return {random.below(4), random.below(5)};
}

void make_pointwise(Conv2dProblem& p, PadsBelow& pads, bool depthwise, Random& random) {
  p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 1;
  p.pad_top = p.pad_left = pads.bottom = pads.right = 0;
  if (depthwise || random.below(8) > 0) return;
  // Enough pixels for some of them to be computed apart.
  p.batch = 1;
  p.height = 32;
  p.width = 128 + random.below(2);
}

// Rows of many vectors, side by side or of several weights.
void make_long_rows(Conv2dProblem& p, PadsBelow& pads, Random& random) {
  p.channels = p.out_channels = p.groups = 1 + random.below(12);
  p.height = 33 + random.below(8);
  p.width = 512 / p.channels + random.below(16);
  p.kernel_h = p.kernel_w = 3;
  p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1;
  p.pad_left = pads.right = 1;
}

// Planes whose pixels lie in the same sets of a cache.
void make_colliding_planes(Conv2dProblem& p, PadsBelow& pads, Random& random) {
  p.height = 16;
  p.width = 32;
  p.kernel_h = p.kernel_w = 5 + 2 * random.below(2);
  p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1;
  p.pad_top = p.pad_left = pads.bottom = pads.right = p.kernel_h / 2;
}

// Windows side by side or apart, in rows that are more than one run of them.
void make_windows_apart(Conv2dProblem& p, PadsBelow& pads, Random& random) {
  p.channels = p.out_channels = p.groups = 16 + random.below(60);
  p.kernel_h = p.kernel_w = 2 + random.below(3);
  p.stride_h = p.stride_w = p.kernel_w + random.below(2);
  p.dilation_h = p.dilation_w = 1;
  p.pad_left = pads.right = random.below(3);
  p.width = 50 + random.below(250);
}

// Filters as wide as the image, or as large, which are restated.
void make_as_wide(Conv2dProblem& p, PadsBelow& pads, Random& random) {
  p.width = p.kernel_w;
  p.pad_left = pads.right = 0;
  p.dilation_h = p.dilation_w = 1;
  if (random.below(2) > 0) return;
  p.batch = 1 + random.below(9);
  p.height = p.kernel_h;
  p.pad_top = pads.bottom = 0;
}

// Any problem; and often one of those that kernels have ways of their own for.
Conv2dProblem random_problem(Random& random) {
  Conv2dProblem p{};
  do {
    const bool depthwise = random.below(3) == 0;
    set_extents(p, depthwise, random);
    const bool square = depthwise && random.below(2) == 0;
    if (square) make_square(p, random);
    if (!depthwise && random.below(4) == 0) make_groups_that_share_vectors(p, random);
    PadsBelow pads = set_dilation_and_padding(p, depthwise, random);
    if (random.below(4) == 0) make_pointwise(p, pads, depthwise, random);
    if (square && random.below(12) == 0) make_long_rows(p, pads, random);
    if (depthwise && !square && random.below(8) == 0) make_colliding_planes(p, pads, random);
    if (depthwise && random.below(8) == 0) make_windows_apart(p, pads, random);
    if (random.below(6) == 0) make_as_wide(p, pads, random);
    p.out_height =
        out_extent(p.height, p.pad_top + pads.bottom, p.kernel_h, p.stride_h, p.dilation_h);
    p.out_width =
        out_extent(p.width, p.pad_left + pads.right, p.kernel_w, p.stride_w, p.dilation_w);
  } while (p.out_height < 1 || p.out_width < 1);
  p.layout = random.below(2) == 0 ? Layout::nchw : Layout::nhwc;
  p.filter_layout = random.below(2) == 0 ? FilterLayout::oihw : FilterLayout::hwio;
  p.epilogue = {Activation::relu6, 0, 6};
  if (random.below(2) == 0) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    p.epilogue = {Activation::none, -kInfinity, kInfinity};
  }
  return p;
}

std::vector<float> random_floats(std::ptrdiff_t count, Random& random) {
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& x : floats) x = random.real();
  return floats;
}

struct Case {
  Conv2dProblem problem;
  std::vector<float> input, filter, bias, add;

  Case(const Conv2dProblem& p, Random& random)
      : problem(p),
        input(random_floats(p.batch * p.channels * p.height * p.width, random)),
        filter(random_floats(p.k() * p.out_channels, random)),
        bias(random_floats(p.out_channels, random)),
        add(random_floats(p.batch * p.out_channels * p.pixels(), random)) {}

  // From one image, channel, row or pixel to the next.
  struct Steps {
    std::ptrdiff_t image, channel, row, pixel;
  };

  static Steps steps(Layout layout, std::ptrdiff_t channels, std::ptrdiff_t height,
                     std::ptrdiff_t width) {
    const std::ptrdiff_t image = channels * height * width;
    if (layout == Layout::nchw) return {image, height * width, width, 1};
    return {image, 1, width * channels, channels};
  }

  float sum(std::ptrdiff_t n, std::ptrdiff_t oc, std::ptrdiff_t oh, std::ptrdiff_t ow) const {
    const Conv2dProblem& p = problem;
    const std::ptrdiff_t cg = p.group_channels(), taps = p.kernel_h * p.kernel_w;
    const std::ptrdiff_t first_channel = oc / p.group_filters() * cg;
    const Steps in = steps(p.layout, p.channels, p.height, p.width);
    const bool oihw = p.filter_layout == FilterLayout::oihw;
    const float* const weights = filter.data() + (oihw ? oc * cg * taps : oc);
    const std::ptrdiff_t channel_step = oihw ? taps : p.out_channels;
    const std::ptrdiff_t tap_step = oihw ? 1 : cg * p.out_channels;
    float sum = 0;
    for (std::ptrdiff_t c = 0; c < cg; ++c) {
      const float* const image = input.data() + n * in.image + (first_channel + c) * in.channel;
      for (std::ptrdiff_t kh = 0; kh < p.kernel_h; ++kh) {
        const std::ptrdiff_t ih = oh * p.stride_h + kh * p.dilation_h - p.pad_top;
        if (ih < 0 || ih >= p.height) continue;
        for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
          const std::ptrdiff_t iw = ow * p.stride_w + kw * p.dilation_w - p.pad_left;
          if (iw < 0 || iw >= p.width) continue;
          const float weight = weights[c * channel_step + (kh * p.kernel_w + kw) * tap_step];
          sum = std::fma(image[ih * in.row + iw * in.pixel], weight, sum);
        }
      }
    }
    return sum;
  }

  // Every output before what is added to it.
  std::vector<float> sums() const {
    const Conv2dProblem& p = problem;
    const Steps out = steps(p.layout, p.out_channels, p.out_height, p.out_width);
    std::vector<float> sums(add.size());
    for (std::ptrdiff_t n = 0; n < p.batch; ++n) {
      for (std::ptrdiff_t oc = 0; oc < p.out_channels; ++oc) {
        for (std::ptrdiff_t oh = 0; oh < p.out_height; ++oh) {
          for (std::ptrdiff_t ow = 0; ow < p.out_width; ++ow) {
            sums[static_cast<std::size_t>(n * out.image + oc * out.channel + oh * out.row +
                                          ow * out.pixel)] = sum(n, oc, oh, ow);
          }
        }
      }
    }
    return sums;
  }
};

std::string describe(const Conv2dProblem& p) {
  std::string text = p.layout == Layout::nchw ? "nchw" : "nhwc";
  for (const std::ptrdiff_t x : {p.batch, p.channels, p.height, p.width, p.out_channels, p.kernel_h,
                                 p.kernel_w, p.groups, p.stride_h, p.stride_w, p.dilation_h,
                                 p.dilation_w, p.pad_top, p.pad_left, p.out_height, p.out_width}) {
    text.append(" ").append(std::to_string(x));
  }
  return text;
}

void check_output(Suite& suite, const Case& c, const std::vector<float>& sums,
                  const std::vector<float>& output, bool adds, bool fused) {
  const Conv2dProblem& p = c.problem;
  const std::ptrdiff_t pixels = p.layout == Layout::nchw ? p.pixels() : 1;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto oc = static_cast<std::ptrdiff_t>(i) / pixels % p.out_channels;
    float y = sums[i] + c.bias[static_cast<std::size_t>(oc)];
    if (adds) y += c.add[i];
    y = y < p.epilogue.min ? p.epilogue.min : y;
    y = y > p.epilogue.max ? p.epilogue.max : y;
    const bool right = fused ? output[i] == y : std::fabs(output[i] - y) < 1e-4f;
    if (!right) return suite.check(false, describe(p));
  }
}

// A task that writes what belongs to the next does not go unnoticed.
void run_backwards(const Conv2dPlan& plan, const Conv2dTensors& tensors, float* scratch) {
  Conv2dJob job(plan, tensors);
  for (std::ptrdiff_t task = job.tasks; task-- > 0;) job.run_task(job, task, scratch);
}

// The sums of each problem, for it is the same one for every variant. An emulated CPU would take
// most of its time for them.
using Sums = std::map<unsigned, std::vector<float>>;

void check_conv2d(Suite& suite, const Isa& isa, unsigned seed, Sums& sums, int& done) {
  Random random(seed);
  Conv2dProblem p = random_problem(random);
  p.algorithm = AlgorithmName::exact;
  const auto plan = make_plan(p, isa, 1 + static_cast<int>(random.below(3)));
  if (!plan) return;
  ++done;
  const Case c(p, random);
  std::vector<float> packed(packed_bytes(*plan) / sizeof(float));
  pack(*plan, c.filter.data(), c.bias.data(), packed.data());
  std::vector<float> scratch(plan->scratch_bytes() / sizeof(float));
  std::vector<float> output(c.add.size());
  const bool adds = random.below(2) == 0;
  const float* add = adds ? c.add.data() : nullptr;
  const Conv2dTensors tensors{c.input.data(), packed.data(), add, output.data()};
  if (done % 2 == 0) {
    run(*plan, tensors, scratch.data());
  } else {
    run_backwards(*plan, tensors, scratch.data());
  }
  std::vector<float>& expected = sums[seed];
  if (expected.empty()) expected = c.sums();
  check_output(suite, c, expected, output, adds,
               kBaselineFuses || std::string(isa.name) != "baseline");
}

}  // namespace

void conv2d_tests(Suite& suite) {
  Sums sums;
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    for (const Algorithm* algorithm : algorithms()) {
      if (!algorithm->is_exact()) continue;
      suite.test(std::string("conv2d on ") + isa.name + ", " + algorithm->variant(), [&] {
        use_variant(algorithm->variant());
        int done = 0;
        for (unsigned i = 0; i < 3000 && done < suite.repeats(300); ++i) {
          check_conv2d(suite, isa, i * 2654435761u, sums, done);
        }
        use_variant("");
        const bool is_lacking =
            (algorithm == &direct_on_groups && isa.kernels.direct_groups->pixels == 0) ||
            (algorithm == &direct_on_rows && isa.kernels.direct_rows->usual.mr == 0);
        suite.check(is_lacking ? done == 0 : done >= 40, "too few problems that it can compute");
      });
    }
  }
}

}  // namespace gemmconv::test
