// SPDX-License-Identifier: MIT
#include "direct_pixels.h"

#include <algorithm>

#include "slice.h"
#include "strip.h"

namespace gemmconv {
namespace {

struct Scratch {
  std::ptrdiff_t* taps;
  float* strip;
};

std::ptrdiff_t taps_floats(const DirectPixels& d) {
  const std::size_t bytes = static_cast<std::size_t>(d.k()) * sizeof(std::ptrdiff_t);
  return static_cast<std::ptrdiff_t>(bytes / sizeof(float) + 15) / 16 * 16;
}

Scratch scratch_of(const DirectPixels& d, float* floats) {
  return {reinterpret_cast<std::ptrdiff_t*>(floats), floats + taps_floats(d)};
}

// A run of lanes to compute. They are the outputs from `pixel` on; but of every `row` lanes only
// the first `columns` are outputs.
struct Run {
  const float* x;
  std::ptrdiff_t pixel, lanes, columns, row;
};

class Tiles {
 public:
  Tiles(const DirectPixels& d, Range filter_panels, const std::ptrdiff_t* taps)
      : d_(d),
        panels_(d.filter_panels()),
        filter_panels_(filter_panels),
        taps_(taps),
        k_(d.k()),
        most_(d.kernel->vectors[panels_[0].width - 1]) {}

  // Cuts a run evenly into tiles of whole vectors.
  void compute(const Run& run) const {
    const std::ptrdiff_t lanes = d_.kernel->lanes;
    std::ptrdiff_t pixel = run.pixel;
    std::ptrdiff_t column = 0;
    std::ptrdiff_t width = 0;
    for (std::ptrdiff_t lane = 0; lane < run.lanes; lane += width, column += width) {
      while (column >= run.row) column -= run.row;
      if (column >= run.columns) {
        lane += run.row - column;
        column = 0;
        width = 0;
        continue;
      }
      const std::ptrdiff_t left = (run.lanes - lane + lanes - 1) / lanes;
      const std::ptrdiff_t tiles = (left + most_ - 1) / most_;
      width = (left + tiles - 1) / tiles * lanes;
      const std::ptrdiff_t outputs = outputs_of(run, column, std::min(width, run.lanes - lane));
      const std::ptrdiff_t first = std::min(outputs, run.columns - column);
      tile_of_panels(
          {run.x + lane, taps_, nullptr, k_, static_cast<int>(outputs), static_cast<int>(first),
           static_cast<int>(run.columns), static_cast<int>(run.row - run.columns), nullptr},
          pixel, width / lanes);
      pixel += outputs;
      if (!end_slice()) return;
    }
  }

 private:
  // Of so many lanes from a column on.
  static std::ptrdiff_t outputs_of(const Run& run, std::ptrdiff_t column, std::ptrdiff_t lanes) {
    std::ptrdiff_t outputs = 0;
    for (std::ptrdiff_t end = column + lanes; column < end; column = 0, end -= run.row) {
      outputs += std::min(end, run.columns) - column;
    }
    return outputs;
  }

  void tile_of_panels(DirectPixelsTile tile, std::ptrdiff_t pixel, std::ptrdiff_t vectors) const {
    for (std::ptrdiff_t i = filter_panels_.begin; i < filter_panels_.end; ++i) {
      const Panel panel = panels_[i];
      const Output output = d_.destination.tile(Lanes::pixels, panel.begin, pixel);
      tile.w = d_.filter_packed + panel.begin * k_;
      tile.output = &output;
      d_.kernel->tile[panel.width - 1][vectors - 1](tile);
    }
  }

  const DirectPixels& d_;
  const Panels panels_;
  const Range filter_panels_;
  const std::ptrdiff_t* const taps_;
  const std::ptrdiff_t k_, most_;
};

void rows_of_strips(const DirectPixels& d, Range filter_panels, Range rows,
                    const Scratch& scratch) {
  const std::ptrdiff_t width = d.patches.out_width;
  const Strip strip(d.strip, d.patches, d.channels, d.rows, d.columns);
  const std::ptrdiff_t row = strip.row_stride();
  const Tiles tiles(d, filter_panels, scratch.taps);
  strip.locate_taps(scratch.taps);
  zero_run(scratch.strip + strip.floats(), d.kernel->lanes);
  for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += d.rows) {
    const std::ptrdiff_t count = std::min(d.rows, rows.end - oh);
    for (std::ptrdiff_t ow = 0; ow < width; ow += d.columns) {
      strip.fill(oh, ow, scratch.strip);
      const std::ptrdiff_t pixel = oh * width + ow;
      if (d.runs_on()) {
        tiles.compute({scratch.strip, pixel, (count - 1) * row + width, width, row});
        continue;
      }
      const std::ptrdiff_t columns = std::min(d.columns, width - ow);
      for (std::ptrdiff_t i = 0; i < count; ++i) {
        tiles.compute({scratch.strip + i * row, pixel + i * width, columns, columns, columns});
      }
    }
  }
}

void tiles_in_place(const DirectPixels& d, Range filter_panels, Range units,
                    const Scratch& scratch) {
  const std::ptrdiff_t pixels = d.patches.out_width;
  const std::ptrdiff_t lanes = d.kernel->lanes;
  for (std::ptrdiff_t c = 0; c < d.channels; ++c) scratch.taps[c] = c * d.patches.channel_stride;
  const Tiles tiles(d, filter_panels, scratch.taps);
  const Range range{units.begin * d.columns, std::min(units.end * d.columns, pixels)};
  const std::ptrdiff_t whole = range.size() / lanes * lanes;
  if (whole > 0) {
    tiles.compute({d.patches.image + range.begin, range.begin, whole, whole, whole});
  }
  const std::ptrdiff_t rest = range.size() - whole;
  if (rest == 0) return;
  // The last vector would read beyond the image.
  const Strip strip(d.strip, d.patches, d.channels, 1, lanes);
  strip.fill(0, range.begin + whole, scratch.strip);
  strip.locate_taps(scratch.taps);
  tiles.compute({scratch.strip, range.begin + whole, rest, rest, rest});
}

}  // namespace

std::ptrdiff_t direct_pixels_scratch(const DirectPixels& d) {
  const Strip strip(d.strip, d.patches, d.channels, d.rows,
                    d.in_place ? d.kernel->lanes : d.columns);
  // The last row's last vector reads beyond the strip where rows are not whole vectors.
  return taps_floats(d) + strip.floats() + d.kernel->lanes;
}

void direct_pixels(const DirectPixels& d, Range filter_panels, Range units,
                   float* floats) noexcept {
  const Scratch scratch = scratch_of(d, floats);
  if (d.in_place) {
    tiles_in_place(d, filter_panels, units, scratch);
  } else {
    rows_of_strips(d, filter_panels, units, scratch);
  }
}

}  // namespace gemmconv
