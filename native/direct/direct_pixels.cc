// SPDX-License-Identifier: MIT
#include "direct/direct_pixels.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "direct/pixel_asks.h"
#include "lines.h"
#include "strip.h"
#include "threads/slice.h"

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

void locate_taps_in_place(const DirectPixels& d, std::ptrdiff_t* taps) {
  const Patches& p = d.patches;
  for (std::ptrdiff_t c = 0; c < d.channels; ++c) {
    for (std::ptrdiff_t kh = 0; kh < p.kernel_h; ++kh) {
      for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
        *taps++ = c * p.channel_stride + kh * p.dilation_h * p.row_stride + kw * p.dilation_w;
      }
    }
  }
}

// A run of lanes to compute, from the beginning of a row. They are the outputs from `pixel` on; but
// of every `row` lanes only the first `columns` are outputs.
struct Run {
  const float* x;
  const std::ptrdiff_t* taps;
  std::ptrdiff_t pixel, lanes, columns, row;
  bool reads_on;
  const RowMasks* masks;  // null where all taps are inside
};

// With many steps a tile asks for its outputs, and for pixels three tiles ahead instead of one: 1×1
// 256->64@56 in a batch of 8, which comes from DRAM and goes there, gains 10 % (Zen 4). Six tiles
// are 2 % worse. It gains 3 % more if lines are asked for one by one instead of a tile's outputs,
// and three lines of pixels, at once; and 3 % if of outputs not the lines are that vectors start
// in, but those that they reach into, which the tile before had no part in (7.55 -> 7.33 ms).
constexpr std::ptrdiff_t kTilesAhead = 3;

// Cuts runs into tiles of whole vectors, evenly.
class Tiles {
 public:
  Tiles(const DirectPixels& d, const Scratch& scratch, std::ptrdiff_t first_panel)
      : d_(d),
        scratch_(scratch),
        first_panel_(first_panel),
        panels_(d.filter_panels()),
        k_(d.k()),
        lane_bits_(std::countr_zero(static_cast<std::size_t>(d.kernel->lanes))),
        most_(d.most_vectors()) {}

  // Rows of outputs, so far apart in the image; false when nobody wants the result any more. What
  // the tiles have in common is written once: what is done between two tiles of short sums is not
  // hidden by their multiply-adds (3×3 3->64@224: 2 %, 1×1 24->144@56: 3 %, Zen 4).
  bool compute(Run run, std::ptrdiff_t rows, std::ptrdiff_t row_stride, Range filter_panels) const {
    Work work{{}, d_.destination.tile(Lanes::pixels, 0, 0), filter_panels, false};
    work.tile.taps = run.taps;
    work.tile.k = work.tile.ask_first = k_;
    work.tile.run = static_cast<int>(run.columns);
    work.tile.gap = static_cast<int>(run.row - run.columns);
    work.tile.output = &work.output;
    work.tile.mask_steps = scratch_.mask_steps;
    work.tile.asks = run.taps;
    if (!run.reads_on && comes_from_afar(d_)) {
      if (work.output.lane_stride == 1) ask_for_outputs(d_, work.tile);
      // Of the panels that read the same pixels the first asks for them.
      if (run.masks != nullptr && filter_panels.begin == first_panel_) {
        ask_for_pixels(d_, scratch_.asks, work.tile);
      }
    }
    work.repeats = !run.reads_on && can_repeat(work);
    for (std::ptrdiff_t i = 0; i < rows; ++i) {
      if (!compute_run(run, work)) return false;
      run.x += row_stride;
      run.pixel += d_.patches.out_width;
    }
    return true;
  }

 private:
  // What tiles have in common, and, while one is computed, it.
  struct Work {
    DirectPixelsTile tile;
    Output output;
    Range panels;
    bool repeats;
  };

  bool can_repeat(const Work& work) const {
    const std::ptrdiff_t rows = panels_[work.panels.begin].width;
    const Output& out = work.output;
    return work.tile.ask_first == k_ && out.lane_stride == 1 && out.add == nullptr &&
           out.epilogue.activation <= Activation::clamp && d_.shapes->vectors[rows - 1] == most_ &&
           d_.kernel->repeat[rows - 1] != nullptr;
  }

  bool compute_run(const Run& run, Work& work) const {
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
      if (work.repeats && inside >= 2 * taken && left >= 3 * most_) {
        work.tile.tiles = tiles_at_once(left, std::min(inside, run.columns - column));
        taken *= work.tile.tiles;
      }
      const std::ptrdiff_t outputs = outputs_of(run, column, std::min(taken, run.lanes - lane));
      work.tile.x = run.x + lane;
      work.tile.outputs = static_cast<int>(outputs);
      work.tile.first_run = static_cast<int>(
          run.columns == run.row ? outputs : std::min(outputs, run.columns - column));
      work.tile.masks = is_masked ? scratch_.masks + phase : nullptr;
      const bool wanted =
          run.reads_on ? asking_panels(work, vectors, pixel) : panels(work, vectors, pixel);
      if (!wanted) return false;
      pixel += outputs;
      column += taken;
      phase += taken;
    }
    return true;
  }

  // The last two stay apart.
  int tiles_at_once(std::ptrdiff_t left, std::ptrdiff_t inside) const {
    const std::ptrdiff_t most =
        std::min({left / most_ - 1, (inside >> lane_bits_) / most_, kStepsASlice / k_});
    return static_cast<int>(std::max<std::ptrdiff_t>(most, 1));
  }

  // Of a tile, when so many are left: the last two share evenly.
  std::ptrdiff_t vectors_of(std::ptrdiff_t left) const {
    if (left <= most_) return left;
    return left < 2 * most_ ? (left + 1) / 2 : most_;
  }

  // Of so many lanes from a column on.
  static std::ptrdiff_t outputs_of(const Run& run, std::ptrdiff_t column, std::ptrdiff_t lanes) {
    if (run.columns == run.row) return lanes;
    std::ptrdiff_t outputs = 0;
    for (std::ptrdiff_t end = column + lanes; column < end; column = 0, end -= run.row) {
      outputs += std::min(end, run.columns) - column;
    }
    return outputs;
  }

  // One panel at the tile, of so many vectors from a pixel on.
  bool panel(Work& work, std::ptrdiff_t i, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const {
    const Panel panel = panels_[i];
    d_.destination.move(work.output, panel.begin, pixel);
    work.tile.w = d_.filter_packed + panel.begin * k_;
    const auto tile = d_.kernel->tile[panel.width - 1][vectors - 1];
    (work.tile.tiles > 1 ? d_.kernel->repeat[panel.width - 1] : tile)(work.tile);
    return end_slice();
  }

  bool panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const {
    for (std::ptrdiff_t i = work.panels.begin; i < work.panels.end; ++i) {
      if (!panel(work, i, vectors, pixel)) return false;
    }
    return true;
  }

  // The panels share between them the lines of the pixels to come.
  bool asking_panels(Work& work, std::ptrdiff_t vectors, std::ptrdiff_t pixel) const {
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

  const DirectPixels& d_;
  const Scratch& scratch_;
  const std::ptrdiff_t first_panel_;
  const Panels panels_;
  const std::ptrdiff_t k_;
  const int lane_bits_;  // a division for every tile takes 1 % of a short sum
  const std::ptrdiff_t most_;
};

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
        tiles_(d, scratch, filter_panels.begin),
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
    Run run{scratch_.strip, scratch_.copied, block.oh * width + block.ow,
            block.columns,  block.columns,   block.columns,
            false,          nullptr};
    std::ptrdiff_t runs = block.rows;
    if (d_.runs_on()) {
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
    const Run run{p.image + (block.oh - p.pad_top) * p.row_stride + block.ow - p.pad_left,
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
  bool each_row(const Run& first, std::ptrdiff_t rows, std::ptrdiff_t row_stride) const {
    for (std::ptrdiff_t ic = panels_.begin; ic < panels_.end; ++ic) {
      if (!tiles_.compute(first, rows, row_stride, {ic, ic + 1})) return false;
    }
    return true;
  }

  const DirectPixels& d_;
  const Range panels_;
  const Scratch& scratch_;
  const Tiles tiles_;
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
  locate_taps_in_place(d, scratch.in_place);
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
  locate_taps_in_place(d, scratch.in_place);
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
