// SPDX-License-Identifier: MIT
#include "depthwise_channels.h"

#include <algorithm>
#include <cstdint>

#include "interleaving.h"
#include "slice.h"

namespace gemmconv {
namespace {

// Vectors that are worth one more, for the others to start where cache lines do: a load across two
// lines takes two cycles (Zen 4: 144@56 0.147 → 0.129 ms with ten vectors for nine; Node's arrays
// start 16 bytes into a line).
constexpr std::ptrdiff_t kVectorsWorthOneMore = 5;

// The vectors that cover a range of channels, the first and the last of them exactly at its ends;
// those between start where vectors are aligned, if they are many and so for all pixels.
class Vectors {
 public:
  Vectors(const Patches& p, Range channels, std::ptrdiff_t lanes)
      : channels_(channels), lanes_(lanes), second_(channels.begin + lanes) {
    const bool alike = p.column_stride % lanes == 0 && p.row_stride % lanes == 0;
    if (alike && channels.size() / lanes >= kVectorsWorthOneMore) {
      const auto address = reinterpret_cast<std::uintptr_t>(p.image + channels.begin);
      second_ -= static_cast<std::ptrdiff_t>(address / sizeof(float)) % lanes;
    }
    count_ = 1 + (channels.end - second_ + lanes - 1) / lanes;
  }
  std::ptrdiff_t count() const { return count_; }
  std::ptrdiff_t operator[](std::ptrdiff_t i) const {
    if (i == 0) return channels_.begin;
    return std::min(second_ + (i - 1) * lanes_, channels_.end - lanes_);
  }

 private:
  Range channels_;
  std::ptrdiff_t lanes_, second_, count_;
};

// Rows of outputs that one vector of channels is computed for before the next: its weights are
// copied once for all of them (Zen 4, 2 → 16 rows: 960@7 13.3 → 11.2 µs, 144@56 0.152 → 0.136 ms;
// 64 rows are worse at 32@112).
constexpr std::ptrdiff_t kRowsOfVector = 16;

class Strips {
 public:
  Strips(const DepthwiseChannels& d, float* w)
      : d_(d),
        down_(d.patches.stride_h, d.patches.dilation_h),
        across_(d.patches.stride_w, d.patches.dilation_w),
        tiles_(shared_tiles()),
        rows_(tiles_ != nullptr && down_.step == across_.step ? d.kernel->rows : 1),
        w_(w) {}

  void compute(Range channels, Range rows) const {
    const Patches& p = d_.patches;
    const Vectors vectors(p, channels, d_.kernel->lanes);
    const std::ptrdiff_t interleaved = rows_ * down_.apart;
    const std::ptrdiff_t a_block =
        std::max(kRowsOfVector / interleaved, std::ptrdiff_t{1}) * interleaved;
    for (std::ptrdiff_t first = 0; first < std::min(across_.apart, p.out_width); ++first) {
      const Panels parts((p.out_width - first + across_.apart - 1) / across_.apart,
                         d_.kernel->pixels, 1);
      for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += a_block) {
        const Range block{oh, std::min(oh + a_block, rows.end)};
        for (std::ptrdiff_t i = 0; i < vectors.count(); ++i) {
          d_.kernel->copy_weights(d_.weights + vectors[i], d_.channels, p.kernel_h * p.kernel_w,
                                  w_);
          for (std::ptrdiff_t j = 0; j < parts.count(); ++j) {
            strip(block, vectors[i], first + parts[j].begin * across_.apart, parts[j].width);
          }
          if (!end_slice()) return;
        }
      }
    }
  }

 private:
  using Tile = void (*)(const DepthwiseChannelsTile&);

  // Kernels that load a pixel once for all outputs, if there are any for such windows. The parts of
  // a row are then not too small for them, either.
  const Tile* shared_tiles() const {
    const Patches& p = d_.patches;
    const DepthwiseChannelsKernel& kernel = *d_.kernel;
    if (p.kernel_w % 2 == 0 || p.kernel_w / 2 >= kDepthwiseWidths ||
        across_.step > kDepthwiseSteps || p.out_width / across_.apart < kernel.least_pixels) {
      return nullptr;
    }
    const auto* tiles = kernel.tile[p.kernel_w / 2][across_.step - 1];
    return tiles[kernel.pixels - 1] == nullptr ? nullptr : tiles;
  }

  // A block of rows of one vector of channels of a part of each row: of the outputs that share
  // image columns, `pixels` from ow on.
  void strip(Range block, std::ptrdiff_t channel, std::ptrdiff_t ow, std::ptrdiff_t pixels) const {
    const Patches& p = d_.patches;
    const std::ptrdiff_t iw = ow * p.stride_w - p.pad_left;
    const Range columns =
        inside(iw, p.dilation_w, p.width, (pixels - 1) * across_.step + p.kernel_w);
    const Tile compute = (tiles_ == nullptr ? d_.kernel->any_tile : tiles_)[pixels - 1];
    Output output;
    DepthwiseChannelsTile tile{nullptr,
                               p.dilation_h * p.row_stride,
                               p.dilation_w * p.column_stride,
                               p.kernel_h,
                               p.kernel_w,
                               across_.step,
                               0,
                               0,
                               0,
                               columns.begin,
                               columns.end,
                               w_,
                               down_.apart * p.out_width * d_.destination.pixel_stride,
                               &output};
    // Tiles are rows_ high, down_.apart apart, and interleave with their neighbours.
    for (std::ptrdiff_t first = block.begin; first < block.end; first += rows_ * down_.apart) {
      for (std::ptrdiff_t oh = first; oh < std::min(first + down_.apart, block.end); ++oh) {
        const std::ptrdiff_t rows = rows_ > 1 && oh + down_.apart < block.end ? 2 : 1;
        const std::ptrdiff_t ih = oh * p.stride_h - p.pad_top;
        const Range image_rows =
            inside(ih, p.dilation_h, p.height, (rows - 1) * down_.step + p.kernel_h);
        tile.x = p.image + ih * p.row_stride + iw * p.column_stride + channel;
        tile.rows = rows;
        tile.row_begin = image_rows.begin;
        tile.row_end = image_rows.end;
        output = d_.destination.tile(Lanes::channels, channel, oh * p.out_width + ow);
        output.row_stride *= across_.apart;
        compute(tile);
      }
    }
  }

  const DepthwiseChannels& d_;
  const Interleaving down_, across_;
  const Tile* const tiles_;
  const std::ptrdiff_t rows_;  // of a tile, at most
  float* const w_;
};

}  // namespace

std::ptrdiff_t depthwise_channels_scratch(const DepthwiseChannels& d) {
  return d.patches.kernel_h * d.patches.kernel_w * d.kernel->lanes;
}

void depthwise_channels(const DepthwiseChannels& d, Range channels, Range rows,
                        float* scratch) noexcept {
  Strips(d, scratch).compute(channels, rows);
}

}  // namespace gemmconv
