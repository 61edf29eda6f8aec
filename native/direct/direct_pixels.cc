// SPDX-License-Identifier: MIT
#include "direct/direct_pixels.h"

#include <algorithm>
#include <bit>

#include "lines.h"
#include "strip.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// Where a tap of the first output lies in the image and in the strip; the strip.
struct Scratch {
  std::ptrdiff_t *in_place, *copied;
  float* strip;
};

std::ptrdiff_t taps_floats(const DirectPixels& d) {
  const std::size_t bytes = static_cast<std::size_t>(2 * d.k()) * sizeof(std::ptrdiff_t);
  return static_cast<std::ptrdiff_t>(bytes / sizeof(float) + 15) / 16 * 16;
}

Scratch scratch_of(const DirectPixels& d, float* floats) {
  auto* taps = reinterpret_cast<std::ptrdiff_t*>(floats);
  return {taps, taps + d.k(), floats + taps_floats(d)};
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

// A run of lanes to compute. They are the outputs from `pixel` on; but of every `row` lanes only
// the first `columns` are outputs.
struct Run {
  const float* x;
  const std::ptrdiff_t* taps;
  std::ptrdiff_t pixel, lanes, columns, row;
  bool reads_on;
};

// From so many steps on a tile asks for its output, and for pixels three tiles ahead instead of
// one: 1×1 256->64@56 in a batch of 8, which comes from DRAM and goes there, gains 10 % (Zen 4).
// From two tiles to six there is no difference. It gains 3 % more if lines are asked for one by one
// instead of a tile's outputs, and three lines of pixels, at once.
constexpr std::ptrdiff_t kManySteps = 48;
constexpr std::ptrdiff_t kTilesAhead = 3;

// Cuts runs into tiles of whole vectors, evenly.
class Tiles {
 public:
  explicit Tiles(const DirectPixels& d)
      : d_(d),
        panels_(d.filter_panels()),
        k_(d.k()),
        lane_bits_(std::countr_zero(static_cast<std::size_t>(d.kernel->lanes))),
        most_(d.kernel->vectors[panels_[0].width - 1]) {}

  // Rows of outputs, so far apart in the image; false when nobody wants the result any more. What
  // the tiles have in common is written once: what is done between two tiles of short sums is not
  // hidden by their multiply-adds (3×3 3->64@224: 2 %, 1×1 24->144@56: 3 %, Zen 4).
  bool compute(Run run, std::ptrdiff_t rows, std::ptrdiff_t row_stride, Range filter_panels) const {
    Work work{{}, d_.destination.tile(Lanes::pixels, 0, 0), filter_panels};
    work.tile.taps = run.taps;
    work.tile.k = work.tile.ask_first = k_;
    work.tile.run = static_cast<int>(run.columns);
    work.tile.gap = static_cast<int>(run.row - run.columns);
    work.tile.output = &work.output;
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
  };

  bool compute_run(const Run& run, Work& work) const {
    const std::ptrdiff_t lanes = d_.kernel->lanes;
    std::ptrdiff_t pixel = run.pixel;
    std::ptrdiff_t column = 0;
    std::ptrdiff_t vectors = 0;
    for (std::ptrdiff_t lane = 0; lane < run.lanes; lane += vectors * lanes) {
      while (column >= run.row) column -= run.row;
      if (column >= run.columns) {
        lane += run.row - column;
        column = 0;
      }
      vectors = vectors_of((run.lanes - lane + lanes - 1) >> lane_bits_);
      const std::ptrdiff_t outputs =
          outputs_of(run, column, std::min(vectors * lanes, run.lanes - lane));
      work.tile.x = run.x + lane;
      work.tile.outputs = static_cast<int>(outputs);
      work.tile.first_run = static_cast<int>(std::min(outputs, run.columns - column));
      const bool wanted =
          run.reads_on ? asking_panels(work, vectors, pixel) : panels(work, vectors, pixel);
      if (!wanted) return false;
      pixel += outputs;
      column += vectors * lanes;
    }
    return true;
  }

  // Of a tile, when so many are left: the last two share evenly.
  std::ptrdiff_t vectors_of(std::ptrdiff_t left) const {
    if (left <= most_) return left;
    return left < 2 * most_ ? (left + 1) / 2 : most_;
  }

  // Of so many lanes from a column on.
  static std::ptrdiff_t outputs_of(const Run& run, std::ptrdiff_t column, std::ptrdiff_t lanes) {
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
    d_.kernel->tile[panel.width - 1][vectors - 1](work.tile);
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
        tiles_(d),
        strip_(d.strip, d.patches, d.channels, d.rows, d.strip_columns()) {
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
            false};
    std::ptrdiff_t runs = block.rows;
    if (d_.runs_on()) {
      run.lanes = (block.rows - 1) * row + width;
      run.row = row;
      runs = 1;
    }
    return each_row(run, runs, row);
  }

  // Of a stride of one, all taps inside the image, and whole vectors.
  bool in_place(const Block& block) const {
    const Patches& p = d_.patches;
    const Run run{
        p.image + (block.oh * p.stride_h - p.pad_top) * p.row_stride + block.ow - p.pad_left,
        scratch_.in_place,
        block.oh * p.out_width + block.ow,
        block.columns,
        block.columns,
        block.columns,
        d_.pointwise};
    if (d_.pointwise) return tiles_.compute(run, 1, 0, panels_);
    return each_row(run, block.rows, p.stride_h * p.row_stride);
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
};

// Outputs all of whose taps lie inside, along one axis.
Range inside_outputs(std::ptrdiff_t outputs, std::ptrdiff_t stride, std::ptrdiff_t pad,
                     std::ptrdiff_t reach, std::ptrdiff_t extent) {
  const Range first = inside(-pad, stride, extent, outputs);
  const Range last = inside(reach - pad, stride, extent, outputs);
  return {std::max(first.begin, last.begin), std::min(first.end, last.end)};
}

// Rows in which a part is read in place, the ends from strips.
bool inner_rows(const DirectPixels& d, const Blocks& blocks, Range rows, Range columns) {
  const std::ptrdiff_t width = d.patches.out_width;
  for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += d.rows) {
    const std::ptrdiff_t count = std::min(d.rows, rows.end - oh);
    for (const Range ends : {Range{0, columns.begin}, Range{columns.end, width}}) {
      for (std::ptrdiff_t ow = ends.begin; ow < ends.end; ow += d.columns) {
        if (!blocks.copied({oh, count, ow, std::min(d.columns, ends.end - ow)})) return false;
      }
    }
    if (columns.size() > 0 && !blocks.in_place({oh, count, columns.begin, columns.size()})) {
      return false;
    }
  }
  return true;
}

void windows(const DirectPixels& d, Range filter_panels, Range rows, const Scratch& scratch) {
  const Patches& p = d.patches;
  const Blocks blocks(d, filter_panels, scratch);
  if (!d.may_read_in_place()) {
    inner_rows(d, blocks, rows, {0, 0});
    return;
  }
  locate_taps_in_place(d, scratch.in_place);
  Range inner =
      inside_outputs(rows.end, p.stride_h, p.pad_top, (p.kernel_h - 1) * p.dilation_h, p.height);
  inner.begin = std::clamp(inner.begin, rows.begin, rows.end);
  inner.end = std::clamp(inner.end, inner.begin, rows.end);
  Range columns =
      inside_outputs(p.out_width, 1, p.pad_left, (p.kernel_w - 1) * p.dilation_w, p.width);
  const std::ptrdiff_t lanes = d.kernel->lanes;
  columns.begin = (columns.begin + lanes - 1) / lanes * lanes;
  columns.end = columns.begin + std::max<std::ptrdiff_t>(columns.size(), 0) / lanes * lanes;
  if (!inner_rows(d, blocks, {rows.begin, inner.begin}, {0, 0})) return;
  if (!inner_rows(d, blocks, inner, columns)) return;
  inner_rows(d, blocks, {inner.end, rows.end}, {0, 0});
}

// A 1×1 filter: one long row, of which the last vector may reach beyond the image.
void row_of_pixels(const DirectPixels& d, Range filter_panels, Range tiles,
                   const Scratch& scratch) {
  locate_taps_in_place(d, scratch.in_place);
  const Blocks blocks(d, filter_panels, scratch);
  const Range pixels{tiles.begin * d.columns, std::min(tiles.end * d.columns, d.patches.out_width)};
  const std::ptrdiff_t lanes = d.kernel->lanes;
  const std::ptrdiff_t whole = pixels.size() / lanes * lanes;
  if (whole > 0 && !blocks.in_place({0, 1, pixels.begin, whole})) return;
  if (whole < pixels.size()) {
    blocks.copied({0, 1, pixels.begin + whole, pixels.size() - whole});
  }
}

}  // namespace

std::ptrdiff_t direct_pixels_scratch(const DirectPixels& d) {
  const Strip strip(d.strip, d.patches, d.channels, d.rows, d.strip_columns());
  return taps_floats(d) + strip.floats() + d.kernel->lanes;
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
