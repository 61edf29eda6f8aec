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

#include "runs.h"

namespace gemmconv {

struct Panel {
  std::ptrdiff_t begin;  // first row or lane
  std::ptrdiff_t width;  // stored width: what the kernel computes
  std::ptrdiff_t valid;  // of those, how many exist
};

// How one side of the GEMM is cut into panels. Divides once, because a panel is asked for by every
// tile.
class Panels {
 public:
  // max_width: MR or NR. vector: widths are multiples of this, 1 on the row side, lanes on the
  // other.
  Panels(std::ptrdiff_t extent, std::ptrdiff_t max_width, std::ptrdiff_t vector)
      : extent_(extent),
        max_width_(max_width),
        vector_(vector),
        count_((extent + max_width - 1) / max_width),
        even_width_(count_ == 0 ? 0 : extent / count_),
        wider_(count_ == 0 ? 0 : extent % count_),
        stored_((extent + vector - 1) / vector * vector) {}

  std::ptrdiff_t extent() const { return extent_; }
  std::ptrdiff_t max_width() const { return max_width_; }
  std::ptrdiff_t vector() const { return vector_; }
  std::ptrdiff_t count() const { return count_; }
  std::ptrdiff_t widest() const { return count_ == 0 ? 0 : (*this)[0].width; }
  // Sum of the stored widths.
  std::ptrdiff_t stored() const { return stored_; }

  // Cut from the others.
  Panels only(const Panel& panel) const { return {panel.valid, max_width_, vector_}; }

  Panel operator[](std::ptrdiff_t i) const {
    if (vector_ == 1) {
      const std::ptrdiff_t width = even_width_ + (i < wider_ ? 1 : 0);
      return {i * even_width_ + std::min(i, wider_), width, width};
    }
    const std::ptrdiff_t begin = i * max_width_;
    return {begin, std::min(max_width_, stored_ - begin), std::min(max_width_, extent_ - begin)};
  }

 private:
  std::ptrdiff_t extent_, max_width_, vector_, count_;
  std::ptrdiff_t even_width_, wider_;  // of the row side: the first `wider_` have one more
  std::ptrdiff_t stored_;
};

// The filter of one group as the GEMM sees it: element (oc, c, kh, kw) by strides.
struct FilterView {
  const float* data;
  std::ptrdiff_t oc_stride, c_stride, kh_stride, kw_stride;
  std::ptrdiff_t channels, kernel_h, kernel_w;

  // Tap (kh, kw), row-major, of the first channel of a filter.
  float tap(std::ptrdiff_t oc, std::ptrdiff_t index) const {
    return data[oc * oc_stride + index / kernel_w * kh_stride + index % kernel_w * kw_stride];
  }
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

  // Rows under so many rows of outputs, and how many of these the image has at most.
  std::ptrdiff_t rows_under(std::ptrdiff_t rows) const {
    return (rows - 1) * stride_h + (kernel_h - 1) * dilation_h + 1;
  }
  std::ptrdiff_t image_rows_under(std::ptrdiff_t rows) const {
    return std::min(rows_under(rows), height);
  }
};

// Steps of the first of some channels, so many, to those of all: the others' lie `stride` farther
// each. (Computed one by one, from strides, they took 12 to 18 cycles each, and half of the time of
// a 3×3 layer 1024->4@7. Zen 4.)
void repeat_steps(std::ptrdiff_t* steps, std::ptrdiff_t count, std::ptrdiff_t channels,
                  std::ptrdiff_t stride);

// How far from the first tap each step of a patch of so many channels lies, in the image or in a
// copy whose rows are `row_stride` apart. Returns the end of what was written.
std::ptrdiff_t* locate_taps(const Patches& patches, std::ptrdiff_t channels,
                            std::ptrdiff_t row_stride, std::ptrdiff_t* taps);

// The patch of a pixel, where it lies in the image as a panel of that pixel alone would; else null.
const float* patch_in_place(const Patches& patches, std::ptrdiff_t pixel);

// Packs steps [k_begin, k_begin + kc) of the pixels from `pixel_begin` on, as many as `panels`
// cuts up. packed: kc × panels.stored() floats, panel after panel.
void pack_patches(const Patches& patches, std::ptrdiff_t k_begin, std::ptrdiff_t kc,
                  std::ptrdiff_t pixel_begin, const Panels& panels, float* packed);

}  // namespace gemmconv
