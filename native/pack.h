// SPDX-License-Identifier: MIT
// Packing: the filter once, image patches block by block. Implicit im2col happens here and only
// here: the matrix of patches never exists, only the block of it that the GEMM is about to use.
//
// A packed operand is a run of panels, each k × width: `width` neighbouring filters (or pixels)
// side by side for every step of k, as the microkernel reads them. The operand on the kernel's row
// side has panels of up to MR, split evenly (64 = 13+13+13+13+12); the one on the lane side has
// panels of NR, the last one rounded up to whole vectors and filled with zeros.
#pragma once

#include <algorithm>
#include <cstddef>

namespace gemmconv {

struct Panel {
  std::ptrdiff_t begin;  // first row or lane
  std::ptrdiff_t width;  // stored width: what the kernel computes
  std::ptrdiff_t valid;  // of those, how many exist
};

// How one side of the GEMM is cut into panels.
struct Panels {
  std::ptrdiff_t extent;
  std::ptrdiff_t max_width;  // MR or NR
  std::ptrdiff_t vector;     // widths are multiples of this: 1 on the row side, lanes on the other

  std::ptrdiff_t count() const { return (extent + max_width - 1) / max_width; }
  // Sum of the stored widths.
  std::ptrdiff_t stored() const { return (extent + vector - 1) / vector * vector; }
  Panel operator[](std::ptrdiff_t i) const {
    if (vector == 1) {
      const std::ptrdiff_t n = count();
      const std::ptrdiff_t width = extent / n + (i < extent % n ? 1 : 0);
      return {i * (extent / n) + std::min(i, extent % n), width, width};
    }
    const std::ptrdiff_t begin = i * max_width;
    return {begin, std::min(max_width, stored() - begin), std::min(max_width, extent - begin)};
  }
};

// The filter of one group as the GEMM sees it: element (oc, c, kh, kw) by strides.
struct FilterView {
  const float* data;
  std::ptrdiff_t oc_stride, c_stride, kh_stride, kw_stride;
  std::ptrdiff_t channels, kernel_h, kernel_w;
};

// Packs all filters of a group: K blocks of `kc` one after another, in each block every panel.
// packed: channels·kernel_h·kernel_w × panels.stored() floats.
void pack_filter(const FilterView& filter, const Panels& panels, std::ptrdiff_t kc, float* packed);

// The patches of one image and group. Pixel p of the output is (p / out_width, p % out_width);
// step k of its patch is tap (c, kh, kw), row-major; taps outside the image are zero.
struct Patches {
  const float* image;
  std::ptrdiff_t channel_stride, row_stride, column_stride;
  std::ptrdiff_t height, width, out_width;
  std::ptrdiff_t kernel_h, kernel_w;
  std::ptrdiff_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

// Packs steps [k_begin, k_begin + kc) of the pixels from `pixel_begin` on, as many as `panels`
// cuts up. packed: kc × panels.stored() floats, panel after panel.
void pack_patches(const Patches& patches, std::ptrdiff_t k_begin, std::ptrdiff_t kc,
                  std::ptrdiff_t pixel_begin, const Panels& panels, float* packed);

}  // namespace gemmconv
