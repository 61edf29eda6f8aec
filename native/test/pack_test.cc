// SPDX-License-Identifier: MIT
#include "pack.h"

#include <vector>

#include "check.h"

namespace gemmconv::test {
namespace {

struct PatchCase {
  std::ptrdiff_t channels, height, width, kernel_h, kernel_w;
  std::ptrdiff_t stride, dilation, pad_top, pad_left, out_height, out_width;
  bool channels_last;
};

std::ptrdiff_t out_extent(std::ptrdiff_t extent, std::ptrdiff_t pads, std::ptrdiff_t taps,
                          std::ptrdiff_t stride, std::ptrdiff_t dilation) {
  return (extent + pads - dilation * (taps - 1) - 1) / stride + 1;
}

PatchCase random_case(Random& random) {
  PatchCase c{};
  do {
    c.channels = 1 + random.below(4);
    c.height = 1 + random.below(9);
    c.width = 1 + random.below(40);
    c.kernel_h = 1 + random.below(3);
    c.kernel_w = 1 + random.below(5);
    c.stride = 1 + random.below(3);
    c.dilation = 1 + random.below(2);
    c.pad_top = random.below(4);
    c.pad_left = random.below(6);
    c.out_height =
        out_extent(c.height, c.pad_top + random.below(3), c.kernel_h, c.stride, c.dilation);
    c.out_width =
        out_extent(c.width, c.pad_left + random.below(3), c.kernel_w, c.stride, c.dilation);
  } while (c.out_height < 1 || c.out_width < 1);
  c.channels_last = random.below(2) == 1;
  return c;
}

Patches view_of(const PatchCase& c, const float* image) {
  const bool last = c.channels_last;
  return {image,
          last ? 1 : c.height * c.width,
          last ? c.width * c.channels : c.width,
          last ? c.channels : 1,
          c.height,
          c.width,
          c.out_width,
          c.kernel_h,
          c.kernel_w,
          c.stride,
          c.stride,
          c.dilation,
          c.dilation,
          c.pad_top,
          c.pad_left};
}

float tap_of(const Patches& p, std::ptrdiff_t k, std::ptrdiff_t pixel) {
  const std::ptrdiff_t c = k / (p.kernel_h * p.kernel_w);
  const std::ptrdiff_t kh = k / p.kernel_w % p.kernel_h;
  const std::ptrdiff_t ih = pixel / p.out_width * p.stride_h + kh * p.dilation_h - p.pad_top;
  const std::ptrdiff_t iw =
      pixel % p.out_width * p.stride_w + k % p.kernel_w * p.dilation_w - p.pad_left;
  if (ih < 0 || ih >= p.height || iw < 0 || iw >= p.width) return 0;
  return p.image[c * p.channel_stride + ih * p.row_stride + iw * p.column_stride];
}

void check_patches(Suite& suite, Random& random) {
  const PatchCase c = random_case(random);
  std::vector<float> image(static_cast<std::size_t>(c.channels * c.height * c.width));
  for (float& x : image) x = random.real();
  const Patches patches = view_of(c, image.data());
  const std::ptrdiff_t k_all = c.channels * c.kernel_h * c.kernel_w;
  const std::ptrdiff_t pixels = c.out_height * c.out_width;
  const std::ptrdiff_t k_begin = random.below(k_all);
  const std::ptrdiff_t kc = 1 + random.below(k_all - k_begin);
  const std::ptrdiff_t first = random.below(pixels);
  const bool lane_side = random.below(2) == 1;
  const Panels panels{1 + random.below(pixels - first), lane_side ? 8 : 6, lane_side ? 4 : 1};
  constexpr float kUntouched = 12345.0f;
  std::vector<float> packed(static_cast<std::size_t>(kc * panels.stored()) + 1, kUntouched);
  pack_patches(patches, k_begin, kc, first, panels, packed.data());
  suite.check(packed.back() == kUntouched, "wrote past the end");
  std::size_t at = 0;
  for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
    for (std::ptrdiff_t k = k_begin; k < k_begin + kc; ++k) {
      for (std::ptrdiff_t j = 0; j < panels[i].width; ++j) {
        const bool valid = j < panels[i].valid;
        const float expected = valid ? tap_of(patches, k, first + panels[i].begin + j) : 0.0f;
        suite.check(packed[at++] == expected, "wrong tap");
      }
    }
  }
}

void check_filter(Suite& suite, Random& random) {
  const std::ptrdiff_t filters = 1 + random.below(40);
  const std::ptrdiff_t channels = 1 + random.below(5);
  const std::ptrdiff_t kernel_h = 1 + random.below(3);
  const std::ptrdiff_t kernel_w = 1 + random.below(3);
  const std::ptrdiff_t k_all = channels * kernel_h * kernel_w;
  const std::ptrdiff_t kc = 1 + random.below(k_all);
  const bool lane_side = random.below(2) == 1;
  const Panels panels{filters, lane_side ? 16 : 14, lane_side ? 8 : 1};
  std::vector<float> filter(static_cast<std::size_t>(filters * k_all));
  for (float& w : filter) w = random.real();
  std::vector<float> packed(static_cast<std::size_t>(k_all * panels.stored()));
  const FilterView view{filter.data(), k_all,   kernel_h * kernel_w, kernel_w, 1, channels,
                        kernel_h,      kernel_w};
  pack_filter(view, panels, kc, packed.data());
  std::size_t at = 0;
  for (std::ptrdiff_t begin = 0; begin < k_all; begin += kc) {
    for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
      for (std::ptrdiff_t k = begin; k < std::min(begin + kc, k_all); ++k) {
        for (std::ptrdiff_t j = 0; j < panels[i].width; ++j) {
          const std::ptrdiff_t oc = panels[i].begin + j;
          const float expected =
              oc < filters ? filter[static_cast<std::size_t>(oc * k_all + k)] : 0.0f;
          suite.check(packed[at++] == expected, "wrong weight");
        }
      }
    }
  }
  suite.check(at == packed.size(), "wrong size");
}

}  // namespace

void pack_tests(Suite& suite) {
  suite.test("panels cover their extent, evenly on the row side", [&] {
    for (std::ptrdiff_t extent = 1; extent <= 200; ++extent) {
      for (const Panels panels : {Panels{extent, 14, 1}, Panels{extent, 32, 16}}) {
        std::ptrdiff_t next = 0;
        for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
          suite.check(panels[i].begin == next, "gap");
          suite.check(panels[i].width % panels.vector() == 0, "part of a vector");
          suite.check(panels[i].width <= panels.max_width(), "too wide");
          if (panels.vector() == 1) {
            suite.check(panels[0].width - panels[i].width <= 1, "uneven");
          }
          next += panels[i].width;
        }
        suite.check(next == panels.stored() && panels.stored() - extent < panels.vector(),
                    "extent");
      }
    }
  });
  suite.test("pack_patches finds every tap, skips the padding, stays inside", [&] {
    Random random(1);
    for (int i = 0; i < 2000; ++i) check_patches(suite, random);
  });
  suite.test("pack_filter lays out K blocks of panels", [&] {
    Random random(2);
    for (int i = 0; i < 500; ++i) check_filter(suite, random);
  });
}

}  // namespace gemmconv::test
