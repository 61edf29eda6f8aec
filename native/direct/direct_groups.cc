// SPDX-License-Identifier: MIT
#include "direct/direct_groups.h"

#include <algorithm>

#include "interleaving.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

constexpr std::ptrdiff_t kMostPixels = 16;
// Rows of a filter: with those that are new as many as the ring has, which is to stay in L1.
constexpr std::ptrdiff_t kTallest = 7;

// Outputs below one another, as wide as a tile, whose windows share rows and columns of the image:
// with a dilation these are not neighbours.
struct Column {
  std::ptrdiff_t filter;
  std::ptrdiff_t oh, ow, count, pixels;
  std::ptrdiff_t ih, iw;  // their first tap
  Range down, across;     // of the rows and columns under them, those inside
};

class Columns {
 public:
  explicit Columns(const DirectGroups& d)
      : d_(d),
        p_(d.patches),
        lanes_(d.kernel->lanes),
        down_(p_.stride_h, p_.dilation_h),
        across_(p_.stride_w, p_.dilation_w),
        row_(columns_under(std::min<std::ptrdiff_t>(d.kernel->pixels, p_.out_width)) * lanes_),
        new_rows_(std::min(down_.step, p_.kernel_h)),
        height_(p_.kernel_h + new_rows_) {
    for (std::ptrdiff_t l = 0; l < lanes_; ++l) {
      sources_[l] = static_cast<int>(l / d.group_channels * d.group_channels);
    }
  }

  std::ptrdiff_t ring_floats() const { return height_ * row_; }

  std::ptrdiff_t columns_under(std::ptrdiff_t pixels) const {
    return (pixels - 1) * across_.step + p_.kernel_w;
  }

  DirectGroupsWork work_of_row() const {
    const std::ptrdiff_t apart = std::min(across_.apart, p_.out_width);
    const Panels all = parts(0);
    const std::ptrdiff_t tiles = apart * all.count();
    // The columns under the last output lie under so many taps of those that would follow it.
    std::ptrdiff_t beyond = 0;
    for (std::ptrdiff_t taps = p_.kernel_w; (taps -= across_.step) > 0;) beyond += taps;
    const bool is_full = all[0].width == d_.kernel->pixels;
    return {tiles, new_rows_, (p_.out_width - tiles) * across_.step + tiles * p_.kernel_w,
            is_full ? 0 : tiles * beyond};
  }

  // False when nobody wants the result any more.
  bool compute(std::ptrdiff_t vector, Range rows, float* ring) const {
    const float* weights = d_.weights + vector * d_.k() * lanes_;
    for (std::ptrdiff_t ow = 0; ow < std::min(across_.apart, p_.out_width); ++ow) {
      const Panels all = parts(ow);
      for (std::ptrdiff_t i = 0; i < all.count(); ++i) {
        const std::ptrdiff_t end = std::min(rows.begin + down_.apart, rows.end);
        for (std::ptrdiff_t oh = rows.begin; oh < end; ++oh) {
          const Column at =
              column_at(vector, {oh, rows.end}, ow + all[i].begin * across_.apart, all[i].width);
          if (!compute(at, weights, ring)) return false;
        }
      }
    }
    return true;
  }

 private:
  // Of the outputs of a row that share columns with the one at ow.
  Panels parts(std::ptrdiff_t ow) const {
    return {(p_.out_width - ow + across_.apart - 1) / across_.apart, d_.kernel->pixels, 1};
  }

  Column column_at(std::ptrdiff_t vector, Range rows, std::ptrdiff_t ow,
                   std::ptrdiff_t pixels) const {
    Column at{std::min(vector * lanes_, d_.channels - lanes_),
              rows.begin,
              ow,
              (rows.size() + down_.apart - 1) / down_.apart,
              pixels,
              rows.begin * p_.stride_h - p_.pad_top,
              ow * p_.stride_w - p_.pad_left,
              {},
              {}};
    at.down = inside(at.ih, p_.dilation_h, p_.height, (at.count - 1) * down_.step + p_.kernel_h);
    at.across = inside(at.iw, p_.dilation_w, p_.width, columns_under(pixels));
    return at;
  }

  const float* pixel(const Column& at, std::ptrdiff_t i, std::ptrdiff_t j) const {
    return p_.image + (at.ih + i * p_.dilation_h) * p_.row_stride +
           (at.iw + j * p_.dilation_w) * p_.column_stride + at.filter;
  }

  // Where the ring has row i of the windows of output r.
  std::ptrdiff_t in_ring(std::ptrdiff_t r, std::ptrdiff_t i) const {
    return (r * new_rows_ + i) % height_ * row_;
  }

  // Of these rows, those inside.
  Range rows_of(const Column& at, std::ptrdiff_t r) const {
    const std::ptrdiff_t first = r * down_.step;
    const std::ptrdiff_t begin = std::clamp(at.down.begin - first, std::ptrdiff_t{0}, p_.kernel_h);
    return {begin, std::clamp(at.down.end - first, begin, p_.kernel_h)};
  }

  void copy_first(const Column& at, float* ring) const {
    const Range rows = rows_of(at, 0);
    for (std::ptrdiff_t i = rows.begin; i < rows.end; ++i) {
      for (std::ptrdiff_t j = at.across.begin; j < at.across.end; ++j) {
        copy_run(ring + in_ring(0, i) + j * lanes_, pixel(at, i, j), lanes_);
      }
    }
  }

  // Has the tile copy what the windows of output r are the first to see, little by little: then
  // loads from beyond L1 hide behind its multiply-adds (Zen 4: 256@56, stride 2, 8 channels a
  // group, 0.44 ms with rows copied before they are used, 0.38 so).
  void set_next(const Column& at, std::ptrdiff_t r, float* ring, DirectGroupsTile& tile) const {
    tile.next_rows = tile.next_pixels = 0;
    if (r >= at.count || at.across.size() <= 0) return;
    const Range inside = rows_of(at, r);
    const Range rows{std::max(inside.begin, p_.kernel_h - new_rows_), inside.end};
    if (rows.size() <= 0) return;
    tile.next = pixel(at, r * down_.step + rows.begin, 0);
    tile.next_rows = rows.size();
    tile.next_row = ring + in_ring(r, rows.begin);
    const std::ptrdiff_t times = (tile.row_end - tile.row_begin) * tile.channels;
    if (times > 0) tile.next_pixels = (rows.size() * at.across.size() + times - 1) / times;
  }

  // All but what differs from output to output.
  DirectGroupsTile tile_of(const Column& at, const float* weights, float* ring) const {
    DirectGroupsTile tile{};
    tile.ring = ring;
    tile.ring_end = ring + ring_floats();
    tile.ring_row = row_;
    tile.kernel_h = p_.kernel_h;
    tile.column_begin = at.across.begin;
    tile.column_end = at.across.end;
    tile.channels = d_.group_channels;
    tile.sources = sources_;
    tile.w = weights;
    tile.next_row_stride = p_.dilation_h * p_.row_stride;
    tile.next_column_stride = p_.dilation_w * p_.column_stride;
    tile.ahead = new_rows_ * tile.next_row_stride;
    tile.pixels = static_cast<int>(at.pixels);
    return tile;
  }

  bool compute(const Column& at, const float* weights, float* ring) const {
    alignas(64) float sums[kMostPixels * kMaxLanes];
    DirectGroupsTile tile = tile_of(at, weights, ring);
    Output output = d_.destination.tile(Lanes::channels, 0, 0);
    output.row_stride *= across_.apart;
    tile.output = &output;
    const bool in_registers = d_.destination.only_clamps();
    tile.sums = in_registers ? nullptr : sums;
    copy_first(at, ring);
    for (std::ptrdiff_t r = 0; r < at.count; ++r) {
      const Range rows = rows_of(at, r);
      tile.row = ring + in_ring(r, 0);
      tile.row_begin = rows.begin;
      tile.row_end = rows.end;
      set_next(at, r + 1, ring, tile);
      d_.destination.move(output, at.filter, (at.oh + r * down_.apart) * p_.out_width + at.ow);
      d_.kernel->tile[across_.step - 1](tile);
      if (!in_registers) d_.vectors->write({sums, at.pixels, lanes_, false, output});
      if (!end_slice()) return false;
    }
    return true;
  }

  const DirectGroups& d_;
  const Patches& p_;
  const std::ptrdiff_t lanes_;
  const Interleaving down_, across_;
  // The ring: floats of a row; rows that are new from output to output; rows.
  const std::ptrdiff_t row_, new_rows_, height_;
  int sources_[kMaxLanes];
};

}  // namespace

bool has_direct_groups(const Patches& p) {
  return p.kernel_w == 3 && p.kernel_h <= kTallest &&
         Interleaving(p.stride_w, p.dilation_w).step <= 2;
}

DirectGroupsWork direct_groups_row(const DirectGroups& d) { return Columns(d).work_of_row(); }

std::ptrdiff_t direct_groups_scratch(const DirectGroups& d) { return Columns(d).ring_floats(); }

void direct_groups(const DirectGroups& d, Range vectors, Range rows, float* scratch) noexcept {
  const Columns columns(d);
  for (std::ptrdiff_t v = vectors.begin; v < vectors.end; ++v) {
    if (!columns.compute(v, rows, scratch)) return;
  }
}

}  // namespace gemmconv
