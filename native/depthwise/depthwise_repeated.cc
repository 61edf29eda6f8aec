// SPDX-License-Identifier: MIT
#include "depthwise/depthwise_repeated.h"

#include <algorithm>

#include "threads/slice.h"

namespace gemmconv {
namespace {

// Filters that are convolved at once, but that the last of them are as many as are left; and floats
// of their copy: half of Zen 4's L2 (64@28, two filters a channel: 0.054 ms, with a quarter of that
// 0.062; 7×7, stride 2: 0.078, 0.147).
constexpr std::ptrdiff_t kFilters = 64;
constexpr std::ptrdiff_t kCopiedFloats = 131072;
constexpr std::ptrdiff_t kQuad = 4;

class Copies {
 public:
  explicit Copies(const DepthwiseRepeated& d)
      : d_(d), p_(d.filters.patches), rows_(rows_of_copy()) {}

  std::ptrdiff_t floats() const {
    return p_.image_rows_under(rows_) * p_.width * most_floats() + kQuad;
  }

  void compute(Range filters, Range rows, float* scratch) const {
    for (std::ptrdiff_t f = filters.begin; f < filters.end;) {
      const std::ptrdiff_t left = filters.end - f;
      const std::ptrdiff_t end = left < 2 * kFilters ? filters.end : f + kFilters;
      for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += rows_) {
        part({f, end}, {oh, std::min(oh + rows_, rows.end)}, scratch);
        if (!end_slice()) return;
      }
      f = end;
    }
  }

 private:
  // Of a pixel, of all channels that some of the filters belong to.
  std::ptrdiff_t most_floats() const { return 2 * (kFilters + d_.multiplier); }
  std::ptrdiff_t rows_of_copy() const {
    const std::ptrdiff_t fit = kCopiedFloats / (p_.width * most_floats());
    return 1 + std::max(fit - p_.image_rows_under(1), std::ptrdiff_t{0}) / p_.stride_h;
  }

  void part(Range filters, Range rows, float* scratch) const {
    const std::ptrdiff_t ih = rows.begin * p_.stride_h - p_.pad_top;
    const Range under = inside(ih, 1, p_.height, p_.rows_under(rows.size()));
    const Range channels{filters.begin / d_.multiplier,
                         (filters.end + d_.multiplier - 1) / d_.multiplier};
    copy(channels, {ih + under.begin, ih + under.end}, scratch);
    DepthwiseChannels copied = d_.filters;
    copied.patches.column_stride = channels.size() * d_.multiplier;
    copied.patches.row_stride = p_.width * copied.patches.column_stride;
    copied.patches.image =
        scratch - (ih + under.begin) * copied.patches.row_stride - channels.begin * d_.multiplier;
    depthwise_channels(copied, filters, rows);
  }

  // Four of each channel at a time; what is too much the next channel's overwrite.
  void copy(Range channels, Range rows, float* to) const {
    for (std::ptrdiff_t ih = rows.begin; ih < rows.end; ++ih) {
      for (std::ptrdiff_t iw = 0; iw < p_.width; ++iw) {
        const float* pixel = p_.image + ih * p_.row_stride + iw * p_.column_stride;
        if (d_.multiplier == 1) {
          to = std::copy(pixel + channels.begin, pixel + channels.end, to);
          continue;
        }
        for (std::ptrdiff_t c = channels.begin; c < channels.end; ++c) {
          const Quad repeated = pixel[c] - Quad{};
          for (std::ptrdiff_t m = 0; m < d_.multiplier; m += kQuad) {
            *reinterpret_cast<Quad*>(to + m) = repeated;
          }
          to += d_.multiplier;
        }
      }
    }
  }

  const DepthwiseRepeated& d_;
  const Patches& p_;
  std::ptrdiff_t rows_;  // of outputs
};

}  // namespace

std::ptrdiff_t depthwise_repeated_scratch(const DepthwiseRepeated& d) { return Copies(d).floats(); }

void depthwise_repeated(const DepthwiseRepeated& d, Range filters, Range rows,
                        float* scratch) noexcept {
  Copies(d).compute(filters, rows, scratch);
}

}  // namespace gemmconv
