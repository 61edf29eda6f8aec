// SPDX-License-Identifier: MIT
#include "depthwise/depthwise_channels.h"

#include <algorithm>
#include <cstdint>

#include "interleaving.h"
#include "system/cpu.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// Vectors that are worth one more, for the others to start where cache lines do: a load across two
// lines takes two cycles (Zen 4: 144@56 0.147 → 0.129 ms with ten vectors for nine; Node's arrays
// start 16 bytes into a line).
constexpr std::ptrdiff_t kVectorsWorthOneMore = 5;

// Rows of outputs of one part of each row before the next part: they share image rows (Zen 4,
// against one row of tiles: 32@112 0.108 → 0.099 ms).
constexpr std::ptrdiff_t kRowsOfStrip = 16;

// Outputs side by side whose windows are, too, and share nothing: what is read and written goes on
// from one to the next (Zen 4 as AVX2, 2×2, stride 2, 64@112: 0.155 → 0.089 ms, by 16 0.121).
constexpr std::ptrdiff_t kPixelsOfRun = 64;
// Of others, whose windows share pixels, which had better stay in L1 (9×9 64@14 in nchw: by 16 as
// fast as with tests for each of 7 pixels).
constexpr std::ptrdiff_t kPixelsThatShare = 16;

class Strips {
 public:
  explicit Strips(const DepthwiseChannels& d)
      : d_(d),
        down_(d.patches.stride_h, d.patches.dilation_h),
        across_(d.patches.stride_w, d.patches.dilation_w),
        tiles_(shared_tiles()),
        is_apart_(tiles_ == nullptr && across_.apart == 1 && across_.step >= d.patches.kernel_w),
        is_run_(tiles_ == nullptr && (is_apart_ || d.kernel->asks_always)),
        rows_(rows_of_tile()),
        pixels_(pixels_of_tile()),
        takes_several_(tiles_ != nullptr && d.kernel->asks_always && d.patches.dilation_h == 1 &&
                       d.destination.only_clamps()) {}

  DepthwiseChannelsForm form() const {
    return {tiles_ != nullptr, {static_cast<int>(rows_) * d_.kernel->pixels, 1}};
  }

  void compute(Range channels, Range rows) const {
    const Patches& p = d_.patches;
    const std::ptrdiff_t tile = rows_ * down_.apart;
    // What comes from memory is asked for a tile ahead, and best read along rows (Zen 4, n8 144@56:
    // 2.3 ms without, 1.72 in strips, 1.43 along rows), or by lines in strips (as AVX2: 1.43 ms,
    // 1.76 along rows).
    const bool along_rows = is_apart_ || (d_.is_streamed && !d_.kernel->asks_always);
    const std::ptrdiff_t height =
        along_rows ? tile : std::max(kRowsOfStrip / tile, std::ptrdiff_t{1}) * tile;
    for (std::ptrdiff_t first = 0; first < std::min(across_.apart, p.out_width); ++first) {
      const Panels parts((p.out_width - first + across_.apart - 1) / across_.apart, pixels_, 1);
      for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += height) {
        for (std::ptrdiff_t j = 0; j < parts.count(); ++j) {
          blocks({oh, std::min(oh + height, rows.end)}, channels,
                 first + parts[j].begin * across_.apart, parts[j].width);
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
    if (p.kernel_h > p.kernel_w || p.kernel_w % 2 == 0 || p.kernel_w / 2 >= kDepthwiseWidths ||
        across_.step > kDepthwiseSteps) {
      return nullptr;
    }
    const std::ptrdiff_t width = p.kernel_w / 2;
    const std::ptrdiff_t step = across_.step - 1;
    const bool are_enough = kernel.most_pixels[width][step] > 0 &&
                            p.out_width / across_.apart >= kernel.least_pixels[width][step];
    return are_enough ? kernel.tile[width][step] : nullptr;
  }

  std::ptrdiff_t pixels_of_tile() const {
    if (is_apart_) return kPixelsOfRun;
    if (is_run_) return kPixelsThatShare;
    return tiles_ == nullptr ? d_.kernel->pixels
                             : d_.kernel->most_pixels[d_.patches.kernel_w / 2][across_.step - 1];
  }

  // Two only where the window is square: a flatter one ends before the kernel's does, and the sums
  // of a second row would not.
  std::ptrdiff_t rows_of_tile() const {
    const Patches& p = d_.patches;
    const bool are_shared =
        tiles_ != nullptr && down_.step == across_.step && p.kernel_h == p.kernel_w;
    return are_shared ? d_.kernel->rows[p.kernel_w / 2] : 1;
  }

  // From the first channel to the second vector's first: a vector, or until one starts where a
  // cache line does, if they do so for all pixels: of the image, or, on Intel's servers, of outputs
  // (Sapphire Rapids, AVX-512, where the two lie differently in lines: 384@14 0.033 -> 0.028 ms,
  // 960@7 0.020 -> 0.017, 144@56 0.33 -> 0.29).
  std::ptrdiff_t to_second(Range channels) const {
    const std::ptrdiff_t lanes = d_.kernel->lanes;
    const Patches& p = d_.patches;
    if (p.column_stride % lanes != 0 || p.row_stride % lanes != 0 ||
        channels.size() / lanes < kVectorsWorthOneMore) {
      return lanes;
    }
    const bool by_outputs = core_traits().l3_is_far && d_.destination.pixel_stride % lanes == 0;
    const float* const first = (by_outputs ? d_.destination.c : p.image) + channels.begin;
    const auto address = reinterpret_cast<std::uintptr_t>(first);
    return lanes - static_cast<std::ptrdiff_t>(address / sizeof(float)) % lanes;
  }

  // As strip, so many channels after the other that half of L1 holds what a tile reads and writes,
  // if all of it does not hold that of all: the next tile finds image rows there, and weights
  // (Zen 4 as AVX2, 3×3: 384@14 0.0254 → 0.0210 ms; 5×5, stride 2, 672@14 0.0303 → 0.0270). Not
  // where a row is one tile, and the next reads on where it ends (960@7 0.0128 → 0.0141), nor
  // beyond L2: lines had better come from there one after the other.
  void blocks(Range rows, Range channels, std::ptrdiff_t ow, std::ptrdiff_t pixels) const {
    const Patches& p = d_.patches;
    const std::ptrdiff_t lanes = d_.kernel->lanes;
    const std::ptrdiff_t columns = (pixels - 1) * across_.step + p.kernel_w;
    const std::ptrdiff_t floats = p.kernel_h * (columns + p.kernel_w) + pixels;
    const auto l1 = static_cast<std::ptrdiff_t>(cache_sizes().l1 / sizeof(float));
    std::ptrdiff_t block = channels.size();
    const bool is_row = across_.step == 1 && columns >= p.width;
    if (d_.kernel->asks_always && !d_.is_far && !is_row && !is_apart_ && floats * block > l1) {
      block = std::max(l1 / 2 / floats / lanes, kVectorsWorthOneMore) * lanes;
    }
    for (std::ptrdiff_t c = channels.begin, begin = c; begin < channels.end; begin = c) {
      c += block - (begin == channels.begin ? lanes - to_second(channels) : 0);
      if (channels.end - c < block / 2) c = channels.end;
      strip(rows, {begin, c}, ow, pixels);
    }
  }

  // How many tiles, from one row of outputs on, one call can take: to set out costs one of few
  // channels a quarter of its time (Zen 4 as AVX2, 3×3: 16@224 0.348 → 0.278 ms, 24@112 0.111 →
  // 0.087, 384@14 0.0247 → 0.0216).
  std::ptrdiff_t tiles_alike(std::ptrdiff_t oh, std::ptrdiff_t end) const {
    const Patches& p = d_.patches;
    if (!takes_several_) return 1;
    if (oh * p.stride_h < p.pad_top) return 1;
    const std::ptrdiff_t last = p.height + p.pad_top - p.kernel_h;
    return last < oh * p.stride_h ? 1 : std::min(end, last / p.stride_h + 1) - oh;
  }

  // Some rows of a part of each: of the outputs that share image columns, `pixels` from ow on.
  void strip(Range block, Range channels, std::ptrdiff_t ow, std::ptrdiff_t pixels) const {
    const Patches& p = d_.patches;
    const std::ptrdiff_t iw = ow * p.stride_w - p.pad_left;
    const Range columns =
        inside(iw, p.dilation_w, p.width, (pixels - 1) * across_.step + p.kernel_w);
    const bool has_columns =
        columns.begin < p.kernel_w && columns.end > (pixels - 1) * across_.step;
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
                               d_.weights + channels.begin,
                               d_.tap_stride,
                               channels.size(),
                               to_second(channels),
                               d_.is_streamed,
                               down_.apart * p.out_width * d_.destination.pixel_stride,
                               &output,
                               d_.is_far,
                               1,
                               p.stride_h * p.row_stride};
    // Tiles are rows_ high, down_.apart apart, and interleave with their neighbours.
    for (std::ptrdiff_t first = block.begin; first < block.end;
         first += tile.alike > 1 ? tile.alike : rows_ * down_.apart) {
      for (std::ptrdiff_t oh = first; oh < std::min(first + down_.apart, block.end); ++oh) {
        const std::ptrdiff_t rows = rows_ > 1 && oh + down_.apart < block.end ? 2 : 1;
        const std::ptrdiff_t ih = oh * p.stride_h - p.pad_top;
        const Range image_rows =
            inside(ih, p.dilation_h, p.height, (rows - 1) * down_.step + p.kernel_h);
        tile.x = p.image + ih * p.row_stride + iw * p.column_stride + channels.begin;
        tile.rows = rows;
        tile.row_begin = image_rows.begin;
        tile.row_end = image_rows.end;
        tile.alike = has_columns ? tiles_alike(oh, block.end) : 1;
        output = d_.destination.tile(Lanes::channels, channels.begin, oh * p.out_width + ow);
        output.row_stride *= across_.apart;
        if (is_run_) {
          d_.kernel->any_run(tile, pixels);
        } else {
          (tiles_ == nullptr ? d_.kernel->any_tile : tiles_)[pixels - 1](tile);
        }
      }
    }
  }

  const DepthwiseChannels& d_;
  const Interleaving down_, across_;
  const Tile* const tiles_;
  const bool is_apart_, is_run_;
  const std::ptrdiff_t rows_, pixels_;  // of a tile, at most
  const bool takes_several_;            // tiles in one call
};

}  // namespace

DepthwiseChannelsForm depthwise_channels_form(const DepthwiseChannels& d) {
  return Strips(d).form();
}

void depthwise_channels(const DepthwiseChannels& d, Range channels, Range rows) noexcept {
  Strips(d).compute(channels, rows);
}

}  // namespace gemmconv
