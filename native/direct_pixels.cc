// SPDX-License-Identifier: MIT
#include "direct_pixels.h"

#include <algorithm>

#include "strip.h"

namespace gemmconv {
namespace {

// Where tiles read their pixels: the first tap of the strip's or the image's first output.
struct Source {
  const float* x;
  const std::ptrdiff_t* taps;
};

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

// The pixels of one tile, of every panel.
void tile_of_panels(const DirectPixels& d, Range filter_panels, const Source& source,
                    std::ptrdiff_t pixel, std::ptrdiff_t width, std::ptrdiff_t valid) {
  const Panels panels = d.filter_panels();
  const std::ptrdiff_t k = d.k();
  for (std::ptrdiff_t i = filter_panels.begin; i < filter_panels.end; ++i) {
    const Panel panel = panels[i];
    const Output output = d.destination.tile(Lanes::pixels, panel.begin, pixel);
    const DirectPixelsTile tile{
        source.x, source.taps, d.filter_packed + panel.begin * k, k, static_cast<int>(valid),
        &output};
    d.kernel->tile[panel.width - 1][width / d.kernel->lanes - 1](tile);
  }
}

// A run of outputs along a row, cut evenly into tiles of whole vectors.
void run_of_row(const DirectPixels& d, Range filter_panels, const Source& source,
                std::ptrdiff_t pixel, std::ptrdiff_t count) {
  const std::ptrdiff_t lanes = d.kernel->lanes;
  const std::ptrdiff_t most = d.kernel->vectors[d.filter_panels()[0].width - 1];
  const Panels tiles{(count + lanes - 1) / lanes, most, 1};
  for (std::ptrdiff_t i = 0; i < tiles.count(); ++i) {
    const Panel tile = tiles[i];
    const std::ptrdiff_t begin = tile.begin * lanes;
    const std::ptrdiff_t width = tile.width * lanes;
    tile_of_panels(d, filter_panels, {source.x + begin, source.taps}, pixel + begin, width,
                   std::min(width, count - begin));
  }
}

void rows_of_strips(const DirectPixels& d, Range filter_panels, Range rows,
                    const Scratch& scratch) {
  const std::ptrdiff_t width = d.patches.out_width;
  const Strip strip(d.patches, d.channels, d.rows, d.columns);
  strip.locate_taps(scratch.taps);
  for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += d.rows) {
    for (std::ptrdiff_t ow = 0; ow < width; ow += d.columns) {
      strip.fill(oh, ow, scratch.strip);
      for (std::ptrdiff_t i = 0; i < std::min(d.rows, rows.end - oh); ++i) {
        run_of_row(d, filter_panels, {scratch.strip + i * strip.row_stride(), scratch.taps},
                   (oh + i) * width + ow, std::min(d.columns, width - ow));
      }
    }
  }
}

void tiles_in_place(const DirectPixels& d, Range filter_panels, Range tiles,
                    const Scratch& scratch) {
  const std::ptrdiff_t pixels = d.patches.out_width;
  const std::ptrdiff_t lanes = d.kernel->lanes;
  for (std::ptrdiff_t c = 0; c < d.channels; ++c) scratch.taps[c] = c * d.patches.channel_stride;
  const Range range{tiles.begin * d.columns, std::min(tiles.end * d.columns, pixels)};
  const std::ptrdiff_t whole = range.begin + range.size() / lanes * lanes;
  for (std::ptrdiff_t p = range.begin; p < whole; p += d.columns) {
    run_of_row(d, filter_panels, {d.patches.image + p, scratch.taps}, p,
               std::min(d.columns, whole - p));
  }
  if (whole == range.end) return;
  // The last vector would read beyond the image.
  const Strip strip(d.patches, d.channels, 1, lanes);
  strip.fill(0, whole, scratch.strip);
  strip.locate_taps(scratch.taps);
  run_of_row(d, filter_panels, {scratch.strip, scratch.taps}, whole, range.end - whole);
}

}  // namespace

std::ptrdiff_t direct_pixels_scratch(const DirectPixels& d) {
  return taps_floats(d) +
         Strip(d.patches, d.channels, d.rows, d.in_place ? d.kernel->lanes : d.columns).floats();
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
