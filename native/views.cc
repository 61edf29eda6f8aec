// SPDX-License-Identifier: MIT
#include "views.h"

#include "filter.h"

namespace gemmconv {
namespace {

// Distance in floats between neighbours along each axis.
struct Strides {
  std::ptrdiff_t image, channel, row, column;
};

Strides strides_of(Layout layout, std::ptrdiff_t channels, std::ptrdiff_t height,
                   std::ptrdiff_t width) {
  const std::ptrdiff_t image = channels * height * width;
  if (layout == Layout::nchw) return {image, height * width, width, 1};
  return {image, 1, width * channels, channels};
}

}  // namespace

FilterView filter_view(const Conv2dProblem& p, const float* filter, std::ptrdiff_t group) {
  const std::ptrdiff_t taps = p.kernel_h * p.kernel_w;
  const std::ptrdiff_t channels = p.group_channels();
  FilterView view{filter, 0, 0, 0, 0, channels, p.kernel_h, p.kernel_w};
  if (p.filter_layout == FilterLayout::oihw) {
    view.oc_stride = channels * taps;
    view.c_stride = taps;
    view.kh_stride = p.kernel_w;
    view.kw_stride = 1;
  } else {
    view.oc_stride = 1;
    view.c_stride = p.out_channels;
    view.kw_stride = channels * p.out_channels;
    view.kh_stride = p.kernel_w * view.kw_stride;
  }
  view.data += group * p.group_filters() * view.oc_stride;
  return view;
}

Patches patches_of(const Conv2dProblem& p, const float* input, std::ptrdiff_t image,
                   std::ptrdiff_t group) {
  const Strides s = strides_of(p.layout, p.channels, p.height, p.width);
  return {input + image * s.image + group * p.group_channels() * s.channel,
          s.channel,
          s.row,
          s.column,
          p.height,
          p.width,
          p.out_width,
          p.kernel_h,
          p.kernel_w,
          p.stride_h,
          p.stride_w,
          p.dilation_h,
          p.dilation_w,
          p.pad_top,
          p.pad_left};
}

bool is_pointwise(const Conv2dProblem& p) {
  return p.kernel_h == 1 && p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 &&
         p.out_height == p.height && p.out_width == p.width && !p.is_padded();
}

Patches flattened(const Patches& patches) {
  Patches flat = patches;
  flat.width = flat.out_width = patches.height * patches.width;
  flat.height = 1;
  return flat;
}

Patches long_patches_of(const Conv2dProblem& p, const float* input, std::ptrdiff_t image,
                        std::ptrdiff_t group) {
  const Patches patches = patches_of(p, input, image, group);
  return is_pointwise(p) ? flattened(patches) : patches;
}

Destination destination_of(const Conv2dPlan& plan, const Conv2dTensors& tensors,
                           std::ptrdiff_t image, std::ptrdiff_t group) {
  const Conv2dProblem& p = plan.problem;
  const Strides s = strides_of(p.layout, p.out_channels, p.out_height, p.out_width);
  const std::ptrdiff_t first_filter = group * p.group_filters();
  const std::ptrdiff_t offset = image * s.image + first_filter * s.channel;
  return {tensors.output + offset,
          tensors.add == nullptr ? nullptr : tensors.add + offset,
          s.channel,
          s.column,
          packed_bias(tensors.packed) + first_filter,
          p.epilogue};
}

}  // namespace gemmconv
