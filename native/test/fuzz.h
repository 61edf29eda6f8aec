// SPDX-License-Identifier: MIT
// Any bytes as a convolution that lib/validate.ts and lib/geometry.ts would let through.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "conv2d.h"

namespace gemmconv::test {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : next_(data), end_(data + size) {}

  std::ptrdiff_t below(std::ptrdiff_t bound) { return static_cast<std::ptrdiff_t>(byte()) % bound; }
  // From `least`, mostly small, sometimes up to 2^bits.
  std::ptrdiff_t extent(std::ptrdiff_t least, unsigned bits) {
    const unsigned first = byte();
    if (first < 192 || bits <= 8) return least + first % 64;
    std::uint64_t value = 0;
    for (int i = 0; i < 7; ++i) value = value << 8 | byte();
    return least + static_cast<std::ptrdiff_t>(value >> (63 - first % 8 * bits / 7));
  }

 private:
  std::uint8_t byte() { return next_ == end_ ? 0 : *next_++; }

  const std::uint8_t* next_;
  const std::uint8_t* end_;
};

inline constexpr double kMaxSafe = 0x1p53;

// As lib/geometry.ts has it; 0 where the filter does not fit.
inline std::ptrdiff_t slide(std::ptrdiff_t padded, std::ptrdiff_t taps, std::ptrdiff_t dilation,
                            std::ptrdiff_t stride) {
  const double covered = static_cast<double>(dilation) * static_cast<double>(taps - 1) + 1;
  if (covered > static_cast<double>(padded)) return 0;
  return (padded - static_cast<std::ptrdiff_t>(covered)) / stride + 1;
}

inline double product(std::initializer_list<std::ptrdiff_t> extents) {
  double count = 1;
  for (const std::ptrdiff_t extent : extents) {
    count *= static_cast<double>(std::max<std::ptrdiff_t>(1, extent));
  }
  return count;
}

// `bits`: how large extents may be, as a power of two. Nothing where TypeScript would refuse.
inline std::optional<Conv2dProblem> problem_of(Bytes& bytes, unsigned bits) {
  Conv2dProblem p{};
  p.batch = bytes.extent(1, bits);
  p.groups = bytes.below(3) == 0 ? bytes.extent(1, bits) : 1;
  const std::ptrdiff_t group_channels = bytes.extent(0, bits);
  const std::ptrdiff_t group_filters = bytes.extent(1, bits);
  p.height = bytes.extent(1, bits);
  p.width = bytes.extent(1, bits);
  p.kernel_h = bytes.below(2) == 0 ? 1 + bytes.below(4) : bytes.extent(1, bits);
  p.kernel_w = bytes.below(2) == 0 ? 1 + bytes.below(4) : bytes.extent(1, bits);
  if (group_channels == 0) p.kernel_h = p.kernel_w = 1;
  p.stride_h = bytes.below(2) == 0 ? 1 + bytes.below(3) : bytes.extent(1, bits);
  p.stride_w = bytes.below(2) == 0 ? 1 + bytes.below(3) : bytes.extent(1, bits);
  p.dilation_h = bytes.below(2) == 0 ? 1 : bytes.extent(1, bits);
  p.dilation_w = bytes.below(2) == 0 ? 1 : bytes.extent(1, bits);
  p.pad_top = bytes.below(2) == 0 ? bytes.below(3) : bytes.extent(0, bits);
  p.pad_left = bytes.below(2) == 0 ? bytes.below(3) : bytes.extent(0, bits);
  const std::ptrdiff_t padded_h = p.height + p.pad_top + bytes.extent(0, bits);
  const std::ptrdiff_t padded_w = p.width + p.pad_left + bytes.extent(0, bits);
  p.layout = bytes.below(2) == 0 ? Layout::nchw : Layout::nhwc;
  p.filter_layout = bytes.below(2) == 0 ? FilterLayout::oihw : FilterLayout::hwio;
  p.algorithm = static_cast<AlgorithmName>(bytes.below(6));
  p.fragile = bytes.below(8) == 0;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  p.epilogue = {Activation::none, -kInfinity, kInfinity};

  if (product({p.groups, group_channels}) >= kMaxSafe) return std::nullopt;
  if (product({p.groups, group_filters}) >= kMaxSafe) return std::nullopt;
  p.channels = p.groups * group_channels;
  p.out_channels = p.groups * group_filters;
  p.out_height = slide(padded_h, p.kernel_h, p.dilation_h, p.stride_h);
  p.out_width = slide(padded_w, p.kernel_w, p.dilation_w, p.stride_w);
  if (p.out_height < 1 || p.out_width < 1) return std::nullopt;
  if (product({p.batch, p.channels, padded_h, padded_w}) >= kMaxSafe) return std::nullopt;
  if (product({p.kernel_h, p.kernel_w, group_channels, p.batch, p.out_channels, p.out_height,
               p.out_width}) >= kMaxSafe) {
    return std::nullopt;
  }
  return p;
}

}  // namespace gemmconv::test
