// SPDX-License-Identifier: MIT
#include "direct/pixel_tiles.h"

#include <algorithm>
#include <bit>

#include "direct/pixel_asks.h"
#include "lines.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// With many steps a tile asks for its outputs, and for pixels three tiles ahead instead of one: 1×1
// 256->64@56 in a batch of 8, which comes from DRAM and goes there, gains 10 % (Zen 4). Six tiles
// are 2 % worse. It gains 3 % more if lines are asked for one by one instead of a tile's outputs,
// and three lines of pixels, at once; and 3 % if of outputs not the lines are that vectors start
// in, but those that they reach into, which the tile before had no part in (7.55 -> 7.33 ms).
constexpr std::ptrdiff_t kTilesAhead = 3;

// Of so many lanes from a column on.
std::ptrdiff_t outputs_of(const PixelRun& run, std::ptrdiff_t column, std::ptrdiff_t lanes) {
  if (run.columns == run.row) return lanes;
  std::ptrdiff_t outputs = 0;
  for (std::ptrdiff_t end = column + lanes; column < end; column = 0, end -= run.row) {
    outputs += std::min(end, run.columns) - column;
  }
  return outputs;
}

}  // namespace

// What tiles have in common, and, while one is computed, it.
struct PixelTiles::Work {
  DirectPixelsTile tile;
  Output output;
  Range panels;
  bool repeats, asks;
};

PixelTiles::PixelTiles(const DirectPixels& d, const PixelTables& tables, std::ptrdiff_t first_panel)
    : d_(d),
      tables_(tables),
      first_panel_(first_panel),
      panels_(d.filter_panels()),
      k_(d.k()),
      lane_bits_(std::countr_zero(static_cast<std::size_t>(d.kernel->lanes))),
      most_(d.most_vectors()) {}

// What the tiles have in common is written once: what is done between two tiles of short sums is
// not hidden by their multiply-adds (3×3 3->64@224: 2 %, 1×1 24->144@56: 3 %, Zen 4).
bool PixelTiles::compute(PixelRun run, std::ptrdiff_t rows, std::ptrdiff_t row_stride,
                         Range filter_panels) const {
  Work work{{}, d_.destination.tile(Lanes::pixels, 0, 0), filter_panels, false, true};
  work.tile.taps = run.taps;
  work.tile.k = work.tile.ask_first = k_;
  work.tile.run = static_cast<int>(run.columns);
  work.tile.gap = static_cast<int>(run.row - run.columns);
  work.tile.output = &work.output;
  work.tile.mask_steps = tables_.mask_steps;
  work.tile.asks = run.taps;
  work.repeats = can_repeat(work) &&
                 (!run.reads_on || (d_.channels <= kReadAhead && filter_panels.size() == 1));
  work.asks = !(work.repeats && d_.channels <= kReadAhead);
  if (work.asks && !run.reads_on && comes_from_afar(d_)) {
    if (work.output.lane_stride == 1) ask_for_outputs(d_, work.tile);
    // Of the panels that read the same pixels the first asks for them.
    if (run.masks != nullptr && filter_panels.begin == first_panel_) {
      ask_for_pixels(d_, tables_.asks, work.tile);
    }
    work.repeats = work.repeats && work.tile.ask_first == k_;
  }
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    if (!compute_run(run, work)) return false;
    run.x += row_stride;
    run.pixel += d_.patches.out_width;
  }
  return true;
}

bool PixelTiles::can_repeat(const Work& work) const {
  const Output& out = work.output;
  const std::ptrdiff_t rows = panels_[work.panels.begin].width;
  const bool by_vectors = out.lane_stride == 1;
  const bool merges = out.lane_stride == rows && out.row_stride == 1;
  return (by_vectors || merges) && d_.destination.only_clamps() &&
         d_.shapes->vectors[rows - 1] == most_ &&
         d_.kernel->repeat[!by_vectors][rows - 1] != nullptr;
}

bool PixelTiles::compute_run(const PixelRun& run, Work& work) const {
  const std::ptrdiff_t lanes = d_.kernel->lanes;
  std::ptrdiff_t pixel = run.pixel;
  std::ptrdiff_t column = 0;
  std::ptrdiff_t phase = 0;
  std::ptrdiff_t taken = 0;  // lanes
  for (std::ptrdiff_t lane = 0; lane < run.lanes; lane += taken) {
    while (column >= run.row) column -= run.row;
    if (column >= run.columns) {
      lane += run.row - column;
      phase += run.row - column;
      column = 0;
    }
    const std::ptrdiff_t left = (run.lanes - lane + lanes - 1) >> lane_bits_;
    const std::ptrdiff_t vectors = vectors_of(left);
    taken = vectors * lanes;
    while (run.masks != nullptr && phase >= run.masks->period()) phase -= run.masks->period();
    const std::ptrdiff_t inside =
        run.masks != nullptr ? run.masks->inside_from(column) : run.columns - column;
    const bool is_masked = run.masks != nullptr && inside < taken;
    work.tile.tiles = 1;
    if (work.repeats && vectors == most_) {
      work.tile.tiles = tiles_at_once(left, std::min(inside, run.columns - column));
      taken *= work.tile.tiles;
    }
    const std::ptrdiff_t outputs = outputs_of(run, column, std::min(taken, run.lanes - lane));
    work.tile.x = run.x + lane;
    work.tile.outputs = static_cast<int>(outputs);
    work.tile.first_run = static_cast<int>(
        run.columns == run.row ? outputs : std::min(outputs, run.columns - column));
    work.tile.masks = is_masked ? tables_.masks + phase : nullptr;
    const bool wanted = run.reads_on && work.asks ? asking_panels(work, vectors, pixel)
                                                  : panels(work, vectors, pixel);
    if (!wanted) return false;
    pixel += outputs;
    column += taken;
    phase += taken;
  }
  return true;
}

// But for the last two, where they share evenly.
int PixelTiles::tiles_at_once(std::ptrdiff_t left, std::ptrdiff_t inside) const {
  const std::ptrdiff_t rest = left % most_;
  const std::ptrdiff_t alike = left / most_ - (rest > 0 && rest + 1 < most_ ? 1 : 0);
  const std::ptrdiff_t most = std::min({alike, (inside >> lane_bits_) / most_, kStepsASlice / k_});
  return static_cast<int>(std::max<std::ptrdiff_t>(most, 1));
}

// Of a tile, when so many are left: the last two share evenly.
std::ptrdiff_t PixelTiles::vectors_of(std::ptrdiff_t left) const {
  if (left <= most_) return left;
  return left < 2 * most_ ? (left + 1) / 2 : most_;
}

// One panel at the tile, of so many vectors from a pixel on.
bool PixelTiles::panel(Work& work, std::ptrdiff_t i, std::ptrdiff_t vectors,
                       std::ptrdiff_t pixel) const {
  const Panel panel = panels_[i];
  d_.destination.move(work.output, panel.begin, pixel);
  work.tile.w = d_.filter_packed + panel.begin * k_;
  const auto tile = d_.kernel->tile[panel.width - 1][vectors - 1];
  (work.tile.tiles > 1 ? d_.kernel->repeat[work.output.lane_stride != 1][panel.width - 1]
                       : tile)(work.tile);
  return end_slice();
}

bool PixelTiles::panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const {
  for (std::ptrdiff_t i = work.panels.begin; i < work.panels.end; ++i) {
    if (!panel(work, i, vectors, pixel)) return false;
  }
  return true;
}

// The panels share between them the lines of the pixels to come.
bool PixelTiles::asking_panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const {
  const std::ptrdiff_t next = vectors << lane_bits_;
  const bool is_long = k_ >= kManySteps;
  DirectPixelsTile& tile = work.tile;
  tile.ask_every = std::min(work.panels.size() * kLineFloats / next, k_ / panels_[0].width);
  tile.ask_every = std::max<std::ptrdiff_t>(tile.ask_every, 1);
  tile.asks_for_outputs = is_long && work.output.lane_stride == 1;
  std::ptrdiff_t line = 0;
  std::ptrdiff_t first = 0;
  for (std::ptrdiff_t i = work.panels.begin; i < work.panels.end; ++i) {
    tile.ahead = (is_long ? kTilesAhead * next : next) + line;
    tile.ask_first = line < next || tile.asks_for_outputs ? first : k_;
    if (++first == tile.ask_every) {
      first = 0;
      line += kLineFloats;
    }
    if (!panel(work, i, vectors, pixel)) return false;
  }
  return true;
}

}  // namespace gemmconv
