// SPDX-License-Identifier: MIT
// Where the vectors of a row of depthwise outputs lie, and which of their taps lie in the image.
#pragma once

#include <algorithm>
#include <cstddef>

#include "depthwise/depthwise_pixels.h"
#include "lines.h"

namespace gemmconv {

// A run is computed by one call; a copy is made of what a run reads. Its vectors come in fours, or
// in pairs of up to six apart (depthwise_pixels_kernel.cc).
inline constexpr std::ptrdiff_t kVectorsOfRun = 12;
// The first of `count` indices for which something no more holds, by bisection: padding, and with
// it the vectors outside the image, may be beyond all that a loop could go through, and be planned
// for.
template <typename Holds>
std::ptrdiff_t first_without(std::ptrdiff_t count, Holds holds) {
  std::ptrdiff_t first = 0;
  for (std::ptrdiff_t end = count; first < end;) {
    const std::ptrdiff_t middle = first + (end - first) / 2;
    if (holds(middle)) {
      first = middle + 1;
    } else {
      end = middle;
    }
  }
  return first;
}

// A row of outputs as vectors. Rows of the image and of outputs are runs of floats: `interleaved`
// of them make a pixel. From left to right there are vectors of which no tap lies inside the image,
// some do, all do, some do, none does.
class DepthwiseLines {
 public:
  // line: floats from the first vector to where a line of memory starts, if vectors are to be
  // streamed, else negative. The second vector starts a vector from the first; or nearer, for it
  // and all that follow to lie evenly in lines.
  DepthwiseLines(const DepthwisePixels& d, std::ptrdiff_t line)
      : p_(d.patches),
        lanes_(d.kernel->lanes),
        interleaved_(d.interleaved),
        outputs_(p_.out_width * interleaved_),
        second_(line < 0 ? lanes_ : (line - 1) % lanes_ + 1),
        count_((outputs_ + lanes_ - 1 - second_) / lanes_ + 1),
        is_ragged_((outputs_ - second_) % lanes_ != 0),
        apart_{0, count_} {
    const auto first = [&](std::ptrdiff_t m) { return column(begin(m)); };
    const auto last = [&](std::ptrdiff_t m) {
      return column(begin(m) + lanes_ - 1) + (p_.kernel_w - 1) * p_.dilation_w;
    };
    touching_.begin = first_without(count_, [&](std::ptrdiff_t m) { return last(m) < 0; });
    touching_.end = first_without(count_, [&](std::ptrdiff_t m) { return first(m) < p_.width; });
    inside_.begin = first_without(count_, [&](std::ptrdiff_t m) { return first(m) < 0; });
    inside_.end = first_without(count_, [&](std::ptrdiff_t m) { return last(m) < p_.width; });
    // The window covers the image.
    if (inside_.size() <= 0) inside_.begin = inside_.end = touching_.end;
    if (line >= 0) apart_ = whole_lines_from(line);
  }

  std::ptrdiff_t lanes() const { return lanes_; }
  std::ptrdiff_t outputs() const { return outputs_; }
  std::ptrdiff_t count() const { return count_; }
  // The last vector ends where the row does, and overlaps the one before.
  std::ptrdiff_t begin(std::ptrdiff_t m) const {
    const std::ptrdiff_t evenly = m == 0 ? 0 : second_ + (m - 1) * lanes_;
    return std::min(evenly, std::max(outputs_ - lanes_, std::ptrdiff_t{0}));
  }
  std::ptrdiff_t valid() const { return std::min(outputs_, lanes_); }

  // Whether it may be streamed: a line that lies in a cache would be written back first (16 images
  // of 32@112 3.0 ms, with ordinary stores alone 1.9).
  bool is_apart(std::ptrdiff_t m) const { return contains(apart_, m); }
  bool is_outside(std::ptrdiff_t m) const { return !contains(touching_, m); }
  bool is_masked(std::ptrdiff_t m) const { return contains(touching_, m) && !contains(inside_, m); }
  std::ptrdiff_t masked() const { return touching_.size() - inside_.size(); }
  std::ptrdiff_t masked_index(std::ptrdiff_t m) const {
    return m - touching_.begin - (m < inside_.begin ? 0 : inside_.size());
  }

  // How many from m on one run can take: evenly apart, and alike.
  std::ptrdiff_t run_from(std::ptrdiff_t m) const {
    if (!is_apart(m)) return 1;
    const std::ptrdiff_t alike = m < touching_.begin ? touching_.begin
                                 : m < inside_.begin ? inside_.begin
                                 : m < inside_.end   ? inside_.end
                                 : m < touching_.end ? touching_.end
                                                     : count_;
    std::ptrdiff_t end = std::min({alike, m + kVectorsOfRun, apart_.end});
    if (end == count_ && m < count_ - 1 && is_ragged_) --end;
    return end - m;
  }

  void fill_masks(int* masks) const {
    for (std::ptrdiff_t m = touching_.begin; m < touching_.end; ++m) {
      if (!is_masked(m)) continue;
      for (std::ptrdiff_t l = 0; l < lanes_; ++l) {
        const std::ptrdiff_t first = column(begin(m) + l);
        for (std::ptrdiff_t kw = 0; kw < p_.kernel_w; ++kw) {
          const std::ptrdiff_t iw = first + kw * p_.dilation_w;
          masks[kw * lanes_ + l] = iw >= 0 && iw < p_.width ? -1 : 0;
        }
      }
      masks += p_.kernel_w * lanes_;
    }
  }

 private:
  static bool contains(const Range& range, std::ptrdiff_t m) {
    return m >= range.begin && m < range.end;
  }
  // Of the image, the first under an output.
  std::ptrdiff_t column(std::ptrdiff_t output) const {
    return output / interleaved_ * p_.stride_w - p_.pad_left;
  }

  const Patches& p_;
  std::ptrdiff_t lanes_, interleaved_, outputs_, second_, count_;
  bool is_ragged_;
  // Vectors that can be streamed: by whole lines of their own; where several make a line, those of
  // which none is masked.
  Range whole_lines_from(std::ptrdiff_t line) const {
    Range lines{second_ < lanes_ ? 2 : 0, count_};
    const std::ptrdiff_t last = outputs_ - (is_ragged_ ? lanes_ : 0);
    lines.end = (last - (last - line) % kLineFloats - second_) / lanes_ + 1;
    if (lanes_ >= kLineFloats) return lines;
    lines.begin = std::max(lines.begin, inside_.begin);
    const std::ptrdiff_t at = second_ + (lines.begin - 1) * lanes_;
    lines.begin += (kLineFloats + (line - at) % kLineFloats) % kLineFloats / lanes_;
    lines.end = std::min(lines.end, inside_.end);
    lines.end -= (lines.end - lines.begin) % (kLineFloats / lanes_);
    return lines;
  }

  // Vectors that can be streamed, or all; of which some taps lie inside the image;
  // of which all do.
  Range apart_{}, touching_{}, inside_{};
};

}  // namespace gemmconv
