// SPDX-License-Identifier: MIT
#include "direct/direct.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "direct/direct_window.h"
#include "lines.h"
#include "system/cpu.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

struct Scratch {
  unsigned* marks;
  float* window;
  float* partial;
};

// --- one tile ---

// The rows of taps that lie inside the image under a row of tiles, and the taps of each.
struct TapRows {
  std::ptrdiff_t rows, taps;
  std::ptrdiff_t first_tap, skipped_rows_taps;
  std::ptrdiff_t source_offset;  // from a tile's first tap to the first of those
};

// A single column of taps is walked as if it were a row: with a loop over one tap inside one over
// rows, 3×1 384@8 takes 1.37 times as long, 7×1 128->192@17 1.2 (AVX2, Zen 4).
TapRows tap_rows(const Patches& p, std::ptrdiff_t oh, std::ptrdiff_t row_stride) {
  const Range kh = inside(oh * p.stride_h - p.pad_top, p.dilation_h, p.height, p.kernel_h);
  const bool is_column = p.kernel_w == 1;
  return {is_column ? std::min<std::ptrdiff_t>(kh.size(), 1) : kh.size(),
          is_column ? kh.size() : p.kernel_w, kh.begin * p.kernel_w,
          (p.kernel_h - kh.size()) * p.kernel_w, kh.begin * row_stride};
}

// All pixels find the same taps of a row inside, neighbours: leaves out the others (AVX2, Zen 4:
// 3×3 512->256@28, dilation 12, 19.4 -> 15.1 ms).
void leave_out(DirectTile& tile, Range taps) {
  tile.x += taps.begin * tile.tap_column_stride;
  tile.first_tap += taps.begin;
  tile.skipped_of_row = tile.row_taps - taps.size();
  tile.row_taps = taps.size();
  if (taps.size() == 0) tile.tap_rows = 0;
}

// Each tap of a row is inside for some of the pixels.
TapRow cut_row(std::ptrdiff_t pixels, std::ptrdiff_t taps, const unsigned* marks) {
  const unsigned all = (1u << pixels) - 1;
  if (taps != 3 || marks[1] != all) return TapRow::cut;
  const bool at_ends = (marks[0] | 1) == all && (marks[2] | (1u << (pixels - 1))) == all;
  return at_ends ? TapRow::cut_three : TapRow::cut_sides;
}

// Whether all panels have tiles of so many pixels for rows of taps that are cut_ends.
bool has_cut_ends(const Direct& d, std::ptrdiff_t pixels) {
  const Panels panels = d.filter_panels();
  const auto& shapes = d.kernel->tile[static_cast<int>(TapRow::cut_ends)][pixels - 1];
  const std::ptrdiff_t last = panels[panels.count() - 1].width / d.kernel->lanes;
  return shapes[d.tile.vectors - 1] != nullptr && shapes[last - 1] != nullptr;
}

// Whether a row of taps is cut_ends; then marks become what that wants.
bool count_cut(std::ptrdiff_t pixels, std::ptrdiff_t taps, unsigned* marks) {
  const unsigned all = (1u << pixels) - 1;
  const std::ptrdiff_t first = std::countr_zero(marks[0]);
  const std::ptrdiff_t last = pixels - std::bit_width(marks[taps - 1]);
  if (first > kMostCut || last > kMostCut || first + last > taps) return false;
  for (std::ptrdiff_t i = 0; i < taps; ++i) {
    const auto lacks_first = std::max<std::ptrdiff_t>(first - i, 0);
    const auto lacks_last = std::max<std::ptrdiff_t>(last - (taps - 1 - i), 0);
    if (marks[i] != (all >> lacks_last & all << lacks_first)) return false;
  }
  marks[0] = static_cast<unsigned>(first);
  marks[1] = static_cast<unsigned>(taps - first - last);
  marks[2] = static_cast<unsigned>(last);
  return true;
}

// Marks the pixels for which each tap of a row is inside. Returns the taps that all pixels find
// inside, if no pixel finds another.
std::optional<Range> mark(const Patches& p, std::ptrdiff_t iw, std::ptrdiff_t pixels,
                          std::ptrdiff_t taps, unsigned* marks) {
  const unsigned all = (1u << pixels) - 1;
  const std::ptrdiff_t step = p.kernel_w == 1 ? 0 : p.dilation_w;
  Range whole{0, 0};
  bool is_alike = true;
  for (std::ptrdiff_t i = 0; i < taps; ++i) {
    const Range range = inside(iw + i * step, p.stride_w, p.width, pixels);
    marks[i] = all & (~0u << range.begin) & ~(~0u << range.end);
    if (marks[i] == all) whole = {whole.size() == 0 ? i : whole.begin, i + 1};
    is_alike = is_alike && (marks[i] == all || marks[i] == 0);
  }
  return is_alike ? std::optional(whole) : std::nullopt;
}

// Tells the tile what a row of its taps looks like.
void set_row_of_taps(DirectTile& tile, const Direct& d, std::ptrdiff_t iw, std::ptrdiff_t pixels,
                     unsigned* marks) {
  const Patches& p = d.patches;
  const std::ptrdiff_t last = iw + (pixels - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w;
  if (iw >= 0 && last < p.width) {
    tile.row = tile.row_taps == 3 ? TapRow::three : TapRow::any;
    return;
  }
  if (const std::optional<Range> alike = mark(p, iw, pixels, tile.row_taps, marks)) {
    leave_out(tile, *alike);
    tile.row = TapRow::any;
    return;
  }
  tile.row = cut_row(pixels, tile.row_taps, marks);
  if (tile.row == TapRow::cut && has_cut_ends(d, pixels) &&
      count_cut(pixels, tile.row_taps, marks)) {
    tile.row = TapRow::cut_ends;
  }
  tile.pixels = marks;
}

// Wider tiles ask for two lines of windows at once. With a step of two that is as many as there are
// (Zen 4, 3×3 nhwc, 32->64@320: 9.1 -> 8.9 ms).
constexpr std::ptrdiff_t kAsksForOneLine = 8;

// Whether panels of a 1×1 filter, nhwc, share the lines of the next tile between them: n8
// 256->64@56 7.9 -> 7.7 ms (Zen 4). Those of narrow tiles reach farther if each asks for all (AVX2:
// 8.5, shared 10.0).
bool share_asks(const Direct& d, Range channels) {
  const Patches& p = d.patches;
  return p.kernel_h * p.kernel_w == 1 && p.column_stride != 1 && !d.blocks.copies &&
         channels.size() == d.channels && d.channels > short_sum() &&
         d.segments().widest() > kAsksForOneLine;
}

// What the tiles of a block have in common, and, while one is computed, it. Written once: what is
// done between two tiles of short sums is not hidden by their multiply-adds.
struct Work {
  DirectTile tile;
  Output output;
  bool asks_for_outputs;
  bool shares_asks;
  TapRows taps;
};

Work common_to_tiles(const Direct& d, Range channels, const SourceStrides& strides) {
  const Patches& p = d.patches;
  const bool copies = d.blocks.copies;
  const bool planes = p.column_stride == 1;
  const bool asks_for_outputs =
      d.destination.filter_stride == 1 && p.kernel_h * p.kernel_w * d.channels <= short_sum();
  Work work{
      {}, d.destination.tile(Lanes::channels, 0, 0), asks_for_outputs, share_asks(d, channels), {}};
  DirectTile& tile = work.tile;
  tile.channels = channels.size();
  tile.tap_row_stride = strides.row;
  tile.tap_column_stride = p.kernel_w == 1 ? strides.row : strides.column;
  tile.pixel_stride = strides.pixel;
  tile.channel_stride = copies ? 1 : p.channel_stride;
  const std::ptrdiff_t step = d.segments().widest() > kAsksForOneLine ? p.stride_w : 1;
  tile.ahead_step = planes || copies ? 0 : step * kLineFloats - p.channel_stride;
  tile.first = channels.begin == 0;
  tile.last = channels.end == d.channels;
  return work;
}

SourceStrides strides_in_place(const Direct& d) {
  if (d.channels == 0) return {};
  const Patches& p = d.patches;
  return {p.dilation_h * p.row_stride, p.dilation_w * p.column_stride,
          p.stride_w * p.column_stride};
}

const float* source_in_place(const Direct& d, const Tile& tile, Range channels) {
  const Patches& p = d.patches;
  if (d.channels == 0) return p.image;  // there may be none
  return p.image + tile.ih * p.row_stride + tile.iw * p.column_stride +
         channels.begin * p.channel_stride;
}

// What belongs to one tile of pixels.
void set_pixels(Work& work, const Direct& d, const Tile& at, const float* x, unsigned* marks) {
  const Patches& p = d.patches;
  DirectTile& tile = work.tile;
  tile.x = x + work.taps.source_offset;
  tile.tap_rows = work.taps.rows;
  tile.row_taps = work.taps.taps;
  tile.first_tap = work.taps.first_tap;
  tile.skipped_of_row = 0;
  tile.skipped_rows_taps = work.taps.skipped_rows_taps;
  set_row_of_taps(tile, d, at.iw, at.segment.width, marks);
  // nchw: the next channel. nhwc: the next tile, a line for each channel, which is as many as it
  // has at least while tiles have up to 16 pixels.
  const bool planes = p.column_stride == 1;
  tile.ahead = d.blocks.copies ? 0
               : planes        ? p.channel_stride
                               : at.segment.width * p.stride_w * p.column_stride;
  if (p.kernel_h * p.kernel_w == 1 && tile.tap_rows > 0 && tile.row == TapRow::any) {
    tile.row = TapRow::one;
    if (planes) tile.ahead *= 16;
  }
}

// What a step from one whole panel to the next adds.
struct PanelSteps {
  std::ptrdiff_t w, ask, ahead, partial, c, bias;
};

void next_panel(Work& work, const PanelSteps& step) {
  DirectTile& tile = work.tile;
  tile.w += step.w;
  tile.ask += step.ask;
  tile.ahead += step.ahead;
  tile.partial += step.partial;
  work.output.c += step.c;
  if (work.output.add != nullptr) work.output.add += step.c;
  work.output.bias += step.bias;
}

// Shares what a tile asks of the image between the panels. Returns how much farther on each next
// panel asks. Shares are rounded up: of many panels each still asks for something.
std::ptrdiff_t share_between(std::ptrdiff_t panels, const Direct& d, bool by_steps,
                             DirectTile& tile) {
  if (by_steps) {
    const std::ptrdiff_t part = tile.ahead / panels;
    tile.ahead_step = (part + tile.channels - 1) / tile.channels - tile.channel_stride;
    return part;
  }
  if (!d.kernel->counts_asks || tile.row != TapRow::one) return 0;
  tile.ask_every = 1;
  if (d.patches.column_stride == 1) return 0;
  const std::ptrdiff_t lines = (tile.ahead + kLineFloats - 1) / kLineFloats;
  const std::ptrdiff_t share = (lines + panels - 1) / panels;
  const std::ptrdiff_t asks = std::max<std::ptrdiff_t>(std::min(tile.channels, share), 1);
  tile.ask_every = std::max<std::ptrdiff_t>(tile.channels / asks, 1);
  return asks * kLineFloats;
}

// All panels of a block of filters at one tile of pixels, for a block of channels. From panel to
// panel all moves by steps: with the place of each computed anew, tiles of short sums took 9 cycles
// longer (AVX2, Zen 4: 1×1 24->144@56 nhwc 0.295 -> 0.280 ms).
void tile_of_panels(const Direct& d, const Panels& panels, Range block, const Tile& at,
                    std::ptrdiff_t channel, Work& work, float* partial) {
  const std::ptrdiff_t taps = d.patches.kernel_h * d.patches.kernel_w;
  const std::ptrdiff_t width = panels.max_width();
  const Panel last = panels[block.end - 1];
  const std::ptrdiff_t before_last = (block.size() - 1) * width;
  DirectTile& tile = work.tile;
  Output& output = work.output;
  d.destination.move(output, last.begin - before_last,
                     at.oh * d.patches.out_width + at.segment.begin);
  tile.output = &output;
  tile.w = d.filter_packed + ((last.begin - before_last) * d.channels + channel * width) * taps;
  tile.partial = partial;
  tile.valid_lanes = static_cast<int>(width);
  const bool asks_for_outputs = work.asks_for_outputs;
  tile.ask = asks_for_outputs ? output.c + width : tile.w + d.kernel->taps_ahead * width;
  tile.ask_step = asks_for_outputs ? output.row_stride : width;
  const std::ptrdiff_t w_step = width * d.channels * taps;
  const PanelSteps step{w_step,
                        asks_for_outputs ? width : w_step,
                        share_between(block.size(), d, work.shares_asks, tile),
                        at.segment.width * width,
                        d.destination.filter_stride * width,
                        width};
  const auto& shapes = d.kernel->tile[static_cast<int>(tile.row)][at.segment.width - 1];
  const auto whole = shapes[d.tile.vectors - 1];
  for (std::ptrdiff_t more = block.size() - 1; more > 0; --more) {
    whole(tile);
    next_panel(work, step);
  }
  tile.valid_lanes = static_cast<int>(last.valid);
  tile.w -= channel * taps * (width - last.width);
  if (asks_for_outputs) {
    tile.ask += at.segment.width * output.row_stride - before_last - width;
  } else {
    tile.ask = tile.w + d.kernel->taps_ahead * width;
    tile.ask_step = last.width;
  }
  shapes[last.width / d.kernel->lanes - 1](tile);
}

// --- blocks ---

// A block of filters at a block of tiles. False when it was left unfinished.
bool block_of_tiles(const Direct& d, const Panels& panels, Range block, Range tiles,
                    const Scratch& scratch) {
  const Patches& p = d.patches;
  const Panels segments = d.segments();
  std::ptrdiff_t pc = 0;
  do {  // a sum over no channels still has its bias
    const Range channels{pc, std::min(pc + d.blocks.channels, d.channels)};
    float* partial = scratch.partial;
    CopiedWindow window(d, channels, (tiles.end - 1) / segments.count() + 1, scratch.window);
    Work work =
        common_to_tiles(d, channels, d.blocks.copies ? window.strides() : strides_in_place(d));
    std::ptrdiff_t oh = tiles.begin / segments.count(), i = tiles.begin % segments.count();
    work.taps = tap_rows(p, oh, work.tile.tap_row_stride);
    for (std::ptrdiff_t t = tiles.begin; t < tiles.end; ++t) {
      const Tile tile{oh, segments[i], oh * p.stride_h - p.pad_top,
                      segments[i].begin * p.stride_w - p.pad_left};
      const float* x = d.blocks.copies ? window.source(tile) : source_in_place(d, tile, channels);
      set_pixels(work, d, tile, x, scratch.marks);
      tile_of_panels(d, panels, block, tile, channels.begin, work, partial);
      partial += tile.segment.width * (block.size() * panels.max_width());
      if (++i == segments.count()) {
        i = 0;
        work.taps = tap_rows(p, ++oh, work.tile.tap_row_stride);
      }
      if (!end_slice()) return false;
    }
    pc += d.blocks.channels;
  } while (pc < d.channels);
  return true;
}

std::ptrdiff_t marks_floats(const Direct& d) {
  static_assert(sizeof(unsigned) == sizeof(float));
  return whole_lines(d.patches.kernel_w == 1 ? d.patches.kernel_h : d.patches.kernel_w);
}

std::ptrdiff_t partial_floats(const Direct& d) {
  if (d.blocks.channels >= d.channels) return 0;
  return d.blocks.tiles * d.segments().widest() * d.blocks.panels * d.filter_panels().max_width();
}

}  // namespace

std::ptrdiff_t short_sum() { return core_traits().l3_is_far ? 256 : 64; }

DirectBlocks direct_blocks(const Direct& shape) {
  const auto at_least_one = [](std::ptrdiff_t n) { return std::max<std::ptrdiff_t>(n, 1); };
  const auto l2_floats = static_cast<std::ptrdiff_t>(cache_sizes().l2 / sizeof(float));
  const Panels panels = shape.filter_panels();
  Direct d = shape;
  DirectBlocks& blocks = d.blocks;

  // A 1×1 filter does without a copy in tiles of half the pixels (1×1 2048@7 nhwc: 91 -> 99 % of
  // peak, Zen 4).
  const std::ptrdiff_t mr = d.tile.mr;
  const auto collide = [&](std::ptrdiff_t most) {
    return pixels_collide(d, Panels(d.patches.out_width, most, 1).widest());
  };
  const std::ptrdiff_t taps = d.patches.kernel_h * d.patches.kernel_w;
  const bool halved = taps == 1 && collide(mr) && !collide(mr / 2);
  blocks.pixels = halved ? mr / 2 : mr;
  blocks.copies = !halved && collide(mr);

  // Half of L2 for the weights of a block, the rest for the image under it. Where windows are
  // copied, several panels had better share a copy (512@14 nhwc: 100 -> 105 % of peak, Zen 4).
  // Otherwise the fewer blocks the better.
  const std::ptrdiff_t room = l2_floats / 2 / (taps * panels.max_width());
  const std::ptrdiff_t most = at_least_one(blocks.copies ? room / 4 : room);
  const std::ptrdiff_t count = at_least_one((d.channels + most - 1) / most);
  blocks.channels = at_least_one((d.channels + count - 1) / count);
  blocks.panels =
      std::clamp<std::ptrdiff_t>(room / blocks.channels, 1, at_least_one(panels.count()));

  // An eighth of L2 for the sums that are carried.
  const std::ptrdiff_t sums = d.segments().widest() * blocks.panels * panels.max_width();
  const std::ptrdiff_t carried = at_least_one(l2_floats / 8 / sums);
  blocks.tiles = at_least_one(count == 1 ? d.tiles() : std::min(carried, d.tiles()));
  blocks.rows = blocks.copies ? rows_of_window(d) : 0;
  return blocks;
}

std::ptrdiff_t direct_scratch(const Direct& d) {
  return marks_floats(d) + window_floats(d) + partial_floats(d);
}

void direct(const Direct& d, Range filter_panels, Range tiles, float* floats) noexcept {
  const Panels panels = d.filter_panels();
  float* const window = floats + marks_floats(d);
  const Scratch scratch{reinterpret_cast<unsigned*>(floats), window, window + window_floats(d)};
  // The image is read once for each block of filters, the weights of a block once for each tile.
  for (std::ptrdiff_t ic = filter_panels.begin; ic < filter_panels.end; ic += d.blocks.panels) {
    const Range block{ic, std::min(ic + d.blocks.panels, filter_panels.end)};
    for (std::ptrdiff_t t = tiles.begin; t < tiles.end; t += d.blocks.tiles) {
      const Range together{t, std::min(t + d.blocks.tiles, tiles.end)};
      if (!block_of_tiles(d, panels, block, together, scratch)) return;
    }
  }
}

}  // namespace gemmconv
