// SPDX-License-Identifier: MIT
#include "direct/direct_rows.h"

#include <algorithm>
#include <limits>

#include "lines.h"
#include "system/cpu.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Tiles whose sums, 384 bytes each, wait in L1 until they are finished by another kernel.
constexpr std::ptrdiff_t kTilesInMemory = 8;

std::ptrdiff_t columns_under(const Patches& p, std::ptrdiff_t outputs) {
  return (outputs - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
}

std::ptrdiff_t taps_floats(const DirectRows& d) {
  constexpr std::ptrdiff_t kFloatsATap = sizeof(std::ptrdiff_t) / sizeof(float);
  return whole_lines(2 * d.k() * kFloatsATap);
}

std::ptrdiff_t sums_floats(const DirectRows& d) {
  return kTilesInMemory * d.tile.mr * d.filter_panels().max_width();
}

class Rows {
 public:
  Rows(const DirectRows& d, float* scratch)
      : d_(d),
        p_(d.patches),
        segments_(d.segments()),
        panels_(d.filter_panels()),
        taps_(reinterpret_cast<std::ptrdiff_t*>(scratch)),
        sums_(scratch + taps_floats(d)),
        copy_(sums_ + sums_floats(d)),
        copied_row_(d.copied_row()),
        inner_(inner_tiles(d)),
        is_simple_(d.destination.only_clamps()) {
    std::ptrdiff_t* const of_copy = locate_taps(p_, d.channels, p_.row_stride, taps_);
    locate_taps(p_, d.channels, copied_row_, of_copy);
    run_.pixel_stride = p_.stride_w * d.channels;
    run_.k = d.k();
  }

  void compute(Range filter_panels, Range tiles) {
    const std::ptrdiff_t width = segments_.count();
    const std::ptrdiff_t oh_end = (tiles.end - 1) / width + 1;
    for (std::ptrdiff_t t = tiles.begin; t < tiles.end;) {
      const std::ptrdiff_t oh = t / width;
      const std::ptrdiff_t end = std::min(tiles.end, (oh + 1) * width);
      if (!row(oh, oh_end, filter_panels, {t - oh * width, end - oh * width})) return;
      t = end;
    }
  }

 private:
  // Tiles of a row of outputs of which all taps are inside, if all its rows are.
  static Range inner_tiles(const DirectRows& d) {
    const Patches& p = d.patches;
    const Panels segments = d.segments();
    const Range pixels =
        inside(-p.pad_left, p.stride_w, p.width - (p.kernel_w - 1) * p.dilation_w, p.out_width);
    Range tiles{0, segments.count()};
    while (tiles.size() > 0 && segments[tiles.begin].begin < pixels.begin) ++tiles.begin;
    while (tiles.size() > 0 &&
           segments[tiles.end - 1].begin + segments[tiles.end - 1].width > pixels.end) {
      --tiles.end;
    }
    return tiles;
  }

  // Tiles of one row of outputs, of which none from `oh_end` on are wanted. False when nobody wants
  // the result any more.
  bool row(std::ptrdiff_t oh, std::ptrdiff_t oh_end, Range filter_panels, Range tiles) {
    const std::ptrdiff_t ih = oh * p_.stride_h - p_.pad_top;
    const bool is_inside = ih >= 0 && ih + p_.rows_under(1) <= p_.height;
    const Range inner = d_.rows == 0 && is_inside ? inner_ : Range{tiles.end, tiles.end};
    for (Range some = tiles; some.begin < tiles.end; some.begin = some.end) {
      const bool is_inner = some.begin >= inner.begin && some.begin < inner.end;
      some.end = std::min(tiles.end, is_inner                   ? inner.end
                                     : some.begin < inner.begin ? inner.begin
                                                                : tiles.end);
      const std::ptrdiff_t ow = segments_[some.begin].begin;
      run_.taps = is_inner ? taps_ : taps_ + run_.k;
      const float* const x =
          is_inner ? p_.image + ih * p_.row_stride + (ow * p_.stride_w - p_.pad_left) * d_.channels
                   : copied(oh, oh_end, some);
      if (!panels(oh, x, filter_panels, some)) return false;
    }
    return true;
  }

  // Where the first tap of the tiles lies in a copy: of all that is under them and some rows below,
  // or of what is under them alone.
  const float* copied(std::ptrdiff_t oh, std::ptrdiff_t oh_end, Range tiles) {
    const bool is_shared = d_.rows > 0;
    if (is_shared && oh < shared_.end) return in_copy(oh, tiles);
    const Panel last = segments_[tiles.end - 1];
    const std::ptrdiff_t ow = is_shared ? 0 : segments_[tiles.begin].begin;
    const std::ptrdiff_t end = is_shared ? p_.out_width : last.begin + last.width;
    const std::ptrdiff_t rows = is_shared ? std::min(d_.rows, oh_end - oh) : 1;
    copy(oh * p_.stride_h - p_.pad_top, p_.rows_under(rows), ow * p_.stride_w - p_.pad_left,
         columns_under(p_, end - ow));
    if (!is_shared) return copy_;
    shared_ = {oh, oh + rows};
    return in_copy(oh, tiles);
  }

  const float* in_copy(std::ptrdiff_t oh, Range tiles) const {
    return copy_ + (oh - shared_.begin) * p_.stride_h * copied_row_ +
           segments_[tiles.begin].begin * run_.pixel_stride;
  }

  // Rows and columns of the image from (ih, iw) on, with zeros for those outside.
  void copy(std::ptrdiff_t ih, std::ptrdiff_t rows, std::ptrdiff_t iw, std::ptrdiff_t columns) {
    const Range across = inside(iw, 1, p_.width, columns);
    const std::ptrdiff_t before = across.begin * d_.channels;
    const std::ptrdiff_t end = across.end * d_.channels;
    for (std::ptrdiff_t i = 0; i < rows; ++i, ++ih) {
      float* row = copy_ + i * copied_row_;
      if (ih < 0 || ih >= p_.height) {
        zero_run(row, columns * d_.channels);
        continue;
      }
      zero_run(row, before);
      copy_run(row + before, p_.image + ih * p_.row_stride + (iw * d_.channels + before),
               end - before);
      zero_run(row + end, columns * d_.channels - end);
    }
  }

  // Panels of a few more weights than L1 holds: by all of these at a tile, neighbours in memory are
  // written one after the other. (Zen 4, time over that of direct.h's tiles, with half as many
  // weights and with these: 1×1 256->64@56 0.984, 0.974; 1×10 stride 5 1->512@16000 0.69, 0.67; 3×3
  // 16->64@55 1.011, 1.002.)
  std::ptrdiff_t panels_together() const {
    const auto room = static_cast<std::ptrdiff_t>(cache_sizes().l1 / 4 * 5 / sizeof(float));
    return std::max<std::ptrdiff_t>(room / (d_.k() * panels_.max_width()), 1);
  }

  bool panels(std::ptrdiff_t oh, const float* x, Range filter_panels, Range tiles) {
    const std::ptrdiff_t first = segments_[tiles.begin].begin;
    const std::ptrdiff_t together = panels_together();
    for (std::ptrdiff_t ic = filter_panels.begin; ic < filter_panels.end; ic += together) {
      const Range panels{ic, std::min(ic + together, filter_panels.end)};
      const std::ptrdiff_t most =
          std::max<std::ptrdiff_t>(kStepsASlice / (d_.k() * panels.size()), 1);
      std::ptrdiff_t end = 0;
      for (std::ptrdiff_t t = tiles.begin; t < tiles.end; t = end) {
        end = std::min(t + most, tiles.end);
        // The first may be a pixel wider than the others; a call computes tiles of one width.
        const std::ptrdiff_t wider = segments_.extent() % segments_.count();
        if (t < wider) end = std::min(end, wider);
        const Panel segment = segments_[t];
        run_.x = x + (segment.begin - first) * run_.pixel_stride;
        run_.tiles = end - t;
        some_tiles(segment.width, oh * p_.out_width + segment.begin, panels);
        if (!end_slice()) return false;
      }
    }
    return true;
  }

  // Of `width` pixels each, from a pixel on.
  void some_tiles(std::ptrdiff_t width, std::ptrdiff_t pixel, Range filter_panels) {
    std::ptrdiff_t ic = filter_panels.begin;
    while (ic < filter_panels.end) {
      std::ptrdiff_t end = ic + 1;
      if (!is_simple_ || panels_[ic].valid < panels_[ic].width) {
        by_memory(panels_[ic], pixel, width);
      } else {
        while (end < filter_panels.end && panels_[end].valid == panels_[ic].width) ++end;
        at_once(panels_[ic], pixel, width, end - ic);
      }
      ic = end;
    }
  }

  void at_once(const Panel& panel, std::ptrdiff_t pixel, std::ptrdiff_t width,
               std::ptrdiff_t panels) {
    const Destination& to = d_.destination;
    run_.panels = panels;
    run_.c = to.c + panel.begin + pixel * to.pixel_stride;
    run_.output_stride = to.pixel_stride;
    run_.min = to.epilogue.min;
    run_.max = to.epilogue.max;
    start(panel, width, run_.min == -kInfinity && run_.max == kInfinity);
  }

  void by_memory(const Panel& panel, std::ptrdiff_t pixel, std::ptrdiff_t width) {
    const float* const x = run_.x;
    const std::ptrdiff_t tiles = run_.tiles;
    run_.panels = 1;
    run_.c = sums_;
    run_.output_stride = panel.width;
    for (std::ptrdiff_t t = 0; t < tiles; t += kTilesInMemory) {
      run_.tiles = std::min(kTilesInMemory, tiles - t);
      run_.x = x + t * width * run_.pixel_stride;
      start(panel, width, true);
      d_.vectors->finish(sums_, static_cast<int>(run_.tiles * width), static_cast<int>(panel.width),
                         static_cast<int>(panel.valid),
                         d_.destination.tile(Lanes::channels, panel.begin, pixel + t * width));
    }
    run_.x = x;
    run_.tiles = tiles;
  }

  void start(const Panel& panel, std::ptrdiff_t width, bool is_unbounded) {
    run_.w = d_.filter_packed + panel.begin * run_.k;
    run_.bias = d_.destination.bias + panel.begin;
    const auto& runs = d_.kernel->run[is_unbounded ? 0 : 1];
    runs[width - 1][panel.width / d_.kernel->lanes - 1](run_);
  }

  const DirectRows& d_;
  const Patches& p_;
  const Panels segments_, panels_;
  std::ptrdiff_t* const taps_;
  float* const sums_;
  float* const copy_;
  const std::ptrdiff_t copied_row_;
  const Range inner_;
  const bool is_simple_;  // whole vectors go straight to the output
  Range shared_{0, 0};    // rows of outputs
  DirectRowsRun run_{};
};

}  // namespace

bool has_direct_rows(const DirectRows& d) {
  if (d.tile.mr == 0 || d.filters == 0 || d.tiles() == 0) return false;
  const Panels panels = d.filter_panels();
  const Panels segments = d.segments();
  const std::ptrdiff_t last = panels[panels.count() - 1].width / d.kernel->lanes;
  const auto& runs = d.kernel->run[0][segments[segments.count() - 1].width - 1];
  return runs[panels[0].width / d.kernel->lanes - 1] != nullptr && runs[last - 1] != nullptr;
}

std::ptrdiff_t DirectRows::copied_row() const {
  return whole_lines(columns_under(patches, patches.out_width) * channels);
}

std::ptrdiff_t direct_rows_scratch(const DirectRows& d) {
  return taps_floats(d) + sums_floats(d) +
         (d.is_padded ? d.copied_floats(std::max<std::ptrdiff_t>(d.rows, 1)) : 0);
}

void direct_rows(const DirectRows& d, Range filter_panels, Range tiles, float* scratch) noexcept {
  Rows(d, scratch).compute(filter_panels, tiles);
}

}  // namespace gemmconv
