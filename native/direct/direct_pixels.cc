// SPDX-License-Identifier: MIT
#include "direct/direct_pixels.h"

#include <algorithm>
#include <cstdint>

#include "direct/pixel_asks.h"
#include "direct/pixel_tiles.h"
#include "lines.h"
#include "strip.h"

namespace gemmconv {
namespace {

// Where a tap of the first output lies in the image and in the strip, and its masks; masks; a
// strip.
struct Scratch {
  std::ptrdiff_t *in_place, *copied, *mask_steps, *asks;
  int* masks;
  float* strip;
};

std::ptrdiff_t taps_floats(const DirectPixels& d) {
  const std::size_t bytes = static_cast<std::size_t>(4 * d.k()) * sizeof(std::ptrdiff_t);
  return whole_lines(static_cast<std::ptrdiff_t>(bytes / sizeof(float)));
}

std::ptrdiff_t masks_floats(const DirectPixels& d) {
  static_assert(sizeof(int) == sizeof(float));
  return d.in_place ? d.masks().floats() : 0;
}

Scratch scratch_of(const DirectPixels& d, float* floats) {
  auto* taps = reinterpret_cast<std::ptrdiff_t*>(floats);
  float* masks = floats + taps_floats(d);
  const std::ptrdiff_t k = d.k();
  return {taps,
          taps + k,
          taps + 2 * k,
          taps + 3 * k,
          reinterpret_cast<int*>(masks),
          masks + masks_floats(d)};
}

// Outputs from (oh, ow) on, rows × columns of them.
struct Block {
  std::ptrdiff_t oh, rows, ow, columns;
};

class Blocks {
 public:
  Blocks(const DirectPixels& d, Range filter_panels, const Scratch& scratch)
      : d_(d),
        panels_(filter_panels),
        scratch_(scratch),
        tiles_(d, {scratch.masks, scratch.mask_steps, scratch.asks}, filter_panels.begin),
        strip_(d.strip, d.patches, d.channels, d.strip_rows(), d.strip_columns()),
        masks_(d.masks()) {
    strip_.locate_taps(scratch.copied);
    // Read by the last vector of a strip whose rows are not whole vectors.
    zero_run(scratch.strip + strip_.floats(), d.kernel->lanes);
  }

  // Both are false when nobody wants the result any more. Panels outside, so that few output
  // channels are written at a time, long runs of each (4 % of 3×3 3->64@224).
  bool copied(const Block& block) const {
    strip_.fill(block.oh, block.rows, block.ow, scratch_.strip);
    const std::ptrdiff_t width = d_.patches.out_width;
    const std::ptrdiff_t row = strip_.row_stride();
    PixelRun run{scratch_.strip, scratch_.copied, block.oh * width + block.ow,
                 block.columns,  block.columns,   block.columns,
                 false,          nullptr};
    std::ptrdiff_t runs = block.rows;
    if (row == width && block.columns == width) {
      // Nothing lies between the rows.
      run.lanes = run.columns = run.row = block.rows * width;
      runs = 1;
    } else if (d_.runs_on()) {
      run.lanes = (block.rows - 1) * row + width;
      run.row = row;
      runs = 1;
    }
    return each_row(run, runs, row);
  }

  // Of a 1×1 filter in one row, whole vectors; of others whole rows, all in the image, as all rows
  // are that a tap finds. Where neighbouring outputs have neighbours for their pixels.
  bool in_place(const Block& block) const {
    const Patches& p = d_.patches;
    const PixelRun run{p.image + (block.oh - p.pad_top) * p.row_stride + block.ow - p.pad_left,
                       scratch_.in_place,
                       block.oh * p.out_width + block.ow,
                       (block.rows - 1) * p.row_stride + block.columns,
                       block.columns,
                       d_.pointwise ? block.columns : p.row_stride,
                       d_.pointwise,
                       d_.pointwise ? nullptr : &masks_};
    if (d_.pointwise) return tiles_.compute(run, 1, 0, panels_);
    return each_row(run, 1, 0);
  }

 private:
  bool each_row(const PixelRun& first, std::ptrdiff_t rows, std::ptrdiff_t row_stride) const {
    for (std::ptrdiff_t ic = panels_.begin; ic < panels_.end; ++ic) {
      if (!tiles_.compute(first, rows, row_stride, {ic, ic + 1})) return false;
    }
    return true;
  }

  const DirectPixels& d_;
  const Range panels_;
  const Scratch& scratch_;
  const PixelTiles tiles_;
  const Strip strip_;
  const RowMasks masks_;
};

bool rows_from_strips(const DirectPixels& d, const Blocks& blocks, Range rows) {
  const std::ptrdiff_t width = d.patches.out_width;
  for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += d.strip_rows()) {
    const std::ptrdiff_t count = std::min(d.strip_rows(), rows.end - oh);
    for (std::ptrdiff_t ow = 0; ow < width; ow += d.columns) {
      if (!blocks.copied({oh, count, ow, std::min(d.columns, width - ow)})) return false;
    }
  }
  return true;
}

void windows(const DirectPixels& d, Range filter_panels, Range rows, const Scratch& scratch) {
  const Blocks blocks(d, filter_panels, scratch);
  if (!d.in_place) {
    rows_from_strips(d, blocks, rows);
    return;
  }
  locate_taps(d.patches, d.channels, d.patches.row_stride, scratch.in_place);
  if (comes_from_afar(d)) locate_asks(d, scratch.asks);
  d.masks().locate(d.channels, scratch.mask_steps);
  d.masks().fill(scratch.masks);
  const Range inner = rows_in_place(d, rows);
  if (!rows_from_strips(d, blocks, {rows.begin, inner.begin})) return;
  for (std::ptrdiff_t oh = inner.begin; oh < inner.end; oh += d.rows) {
    const std::ptrdiff_t count = std::min(d.rows, inner.end - oh);
    if (!blocks.in_place({oh, count, 0, d.patches.out_width})) return;
  }
  rows_from_strips(d, blocks, {inner.end, rows.end});
}

// Of so many vectors the first pixels are computed apart, for the others to start where lines do:
// where two tiles reach into a line it is fetched twice, and channels that are whole pages apart
// leave no more of them in L1 and L2 than tiles need once (Zen 4, AVX-512: 512->256@128 41.6
// -> 38.4 ms, 256->64@128 5.9 -> 5.4, 56 pixels a side 1 % worse; AVX2: 14.8 -> 12.4, 64->64@64
// 0.65 -> 0.56).
constexpr std::ptrdiff_t kVectorsWorthAligning = 256;

std::ptrdiff_t pixels_to_line(const DirectPixels& d) {
  const Patches& p = d.patches;
  const std::ptrdiff_t lanes = d.kernel->lanes;
  if (p.channel_stride % lanes != 0 || p.out_width < kVectorsWorthAligning * lanes) return 0;
  const auto floats = reinterpret_cast<std::uintptr_t>(p.image) / sizeof(float);
  return (lanes - static_cast<std::ptrdiff_t>(floats) % lanes) % lanes;
}

// A 1×1 filter: one long row, of which the last vector may reach beyond the image.
void row_of_pixels(const DirectPixels& d, Range filter_panels, Range vectors,
                   const Scratch& scratch) {
  locate_taps(d.patches, d.channels, d.patches.row_stride, scratch.in_place);
  const Blocks blocks(d, filter_panels, scratch);
  const std::ptrdiff_t lanes = d.kernel->lanes;
  const std::ptrdiff_t apart = pixels_to_line(d);
  const auto begin_of = [&](std::ptrdiff_t vector) {
    return std::min(apart + vector * lanes, d.patches.out_width);
  };
  const Range pixels{begin_of(vectors.begin), begin_of(vectors.end)};
  if (vectors.begin == 0 && apart > 0 && !blocks.copied({0, 1, 0, apart})) return;
  const std::ptrdiff_t whole = pixels.size() / lanes * lanes;
  if (whole > 0 && !blocks.in_place({0, 1, pixels.begin, whole})) return;
  if (whole < pixels.size()) {
    blocks.copied({0, 1, pixels.begin + whole, pixels.size() - whole});
  }
}

}  // namespace

std::ptrdiff_t direct_pixels_scratch(const DirectPixels& d) {
  const Strip strip(d.strip, d.patches, d.channels, d.strip_rows(), d.strip_columns());
  return taps_floats(d) + masks_floats(d) + strip.floats() + d.kernel->lanes;
}

void direct_pixels(const DirectPixels& d, Range filter_panels, Range units,
                   float* floats) noexcept {
  const Scratch scratch = scratch_of(d, floats);
  if (d.pointwise) {
    row_of_pixels(d, filter_panels, units, scratch);
  } else {
    windows(d, filter_panels, units, scratch);
  }
}

}  // namespace gemmconv
