// SPDX-License-Identifier: MIT
#include "depthwise.h"

#include <algorithm>

#include "slice.h"

namespace gemmconv {
namespace {

// The part of the image under a tile of outputs, `out_rows` × `out_columns` of them from (oh, ow):
// its first tap, and its extent in image rows and columns.
struct Window {
  std::ptrdiff_t ih, iw, rows, columns;

  Window(const Patches& p, std::ptrdiff_t oh, std::ptrdiff_t ow, std::ptrdiff_t out_rows,
         std::ptrdiff_t out_columns)
      : ih(oh * p.stride_h - p.pad_top),
        iw(ow * p.stride_w - p.pad_left),
        rows((out_rows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1),
        columns((out_columns - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1) {}

  bool lies_inside(const Patches& p) const {
    return ih >= 0 && iw >= 0 && ih + rows <= p.height && iw + columns <= p.width;
  }
};

struct Scratch {
  std::ptrdiff_t* in_place;  // offset of each filter column in the image
  std::ptrdiff_t* copied;    // and in the copy
  float* copy;
};

// Where a tile reads its window.
struct Source {
  const float* x;
  std::ptrdiff_t pixel_stride, row_stride;  // from output to output along a row and down
  std::ptrdiff_t tap_row_stride;
  const std::ptrdiff_t* columns;
};

// --- pixels on the lanes ---

// A line of the copy holds the window's columns phase by phase of the stride, so that neighbouring
// outputs read neighbouring floats: column j of the window is float j / stride_w of phase
// j % stride_w.
std::ptrdiff_t phase_floats(const Depthwise& d) {
  const Patches& p = d.patches;
  return d.kernel->lanes * d.kernel->vectors + (p.kernel_w - 1) * p.dilation_w / p.stride_w;
}

Source copy_plane(const Depthwise& d, const float* plane, const Window& window,
                  std::ptrdiff_t lanes, const Scratch& scratch) {
  const Patches& p = d.patches;
  const std::ptrdiff_t phase_size = phase_floats(d);
  const std::ptrdiff_t count = lanes + (p.kernel_w - 1) * p.dilation_w / p.stride_w;
  const std::ptrdiff_t line = p.stride_w * phase_size;
  for (std::ptrdiff_t phase = 0; phase < p.stride_w; ++phase) {
    const std::ptrdiff_t iw = window.iw + phase;
    const auto [begin, end] = inside(iw, p.stride_w, p.width, count);
    for (std::ptrdiff_t i = 0; i < window.rows; ++i) {
      float* to = scratch.copy + i * line + phase * phase_size;
      const std::ptrdiff_t ih = window.ih + i;
      if (ih < 0 || ih >= p.height || begin == end) {
        zero_run(to, count);
        continue;
      }
      zero_run(to, begin);
      gather_run(to + begin, plane + ih * p.row_stride + iw + begin * p.stride_w, p.stride_w,
                 end - begin);
      zero_run(to + end, count - end);
    }
  }
  return {scratch.copy, 1, p.stride_h * line, p.dilation_h * line, scratch.copied};
}

// Whole vectors are read: in place only if these, too, lie inside the row.
Source source_of_plane(const Depthwise& d, const float* plane, std::ptrdiff_t oh, std::ptrdiff_t ow,
                       std::ptrdiff_t rows, std::ptrdiff_t lanes, const Scratch& scratch) {
  const Patches& p = d.patches;
  const Window window(p, oh, ow, rows, lanes);
  if (p.stride_w != 1 || !window.lies_inside(p))
    return copy_plane(d, plane, window, lanes, scratch);
  return {plane + window.ih * p.row_stride + window.iw, 1, p.stride_h * p.row_stride,
          p.dilation_h * p.row_stride, scratch.in_place};
}

void tile_of_plane(const Depthwise& d, std::ptrdiff_t filter, const Source& source,
                   std::ptrdiff_t oh, std::ptrdiff_t rows, const Panel& pixels) {
  const Patches& p = d.patches;
  float bias[kMaxRows];
  std::fill_n(bias, rows, d.destination.bias[filter]);
  Output output = d.destination.tile(Lanes::pixels, filter, oh * p.out_width + pixels.begin);
  output.row_stride = p.out_width;
  output.bias = bias;
  const std::ptrdiff_t taps = p.kernel_h * p.kernel_w;
  const DepthwiseTile tile{source.x,
                           source.row_stride,
                           source.tap_row_stride,
                           p.kernel_h,
                           p.kernel_w,
                           source.columns,
                           d.filter_packed + filter * taps,
                           1,
                           static_cast<int>(pixels.valid),
                           &output};
  d.kernel->tile[rows - 1][pixels.width / d.kernel->lanes - 1](tile);
}

void planes(const Depthwise& d, Range channels, Range rows, const Scratch& scratch) {
  const Patches& p = d.patches;
  const Panels across(p.out_width, d.kernel->lanes * d.kernel->vectors, d.kernel->lanes);
  const Panels down(rows.size(), d.kernel->rows, 1);
  for (std::ptrdiff_t c = channels.begin; c < channels.end; ++c) {
    const float* plane = p.image + c * p.channel_stride;
    for (std::ptrdiff_t i = 0; i < down.count(); ++i) {
      const Panel row = down[i];
      const std::ptrdiff_t oh = rows.begin + row.begin;
      for (std::ptrdiff_t j = 0; j < across.count(); ++j) {
        const Panel pixels = across[j];
        const Source source =
            source_of_plane(d, plane, oh, pixels.begin, row.width, pixels.width, scratch);
        for (std::ptrdiff_t m = 0; m < d.multiplier; ++m) {
          tile_of_plane(d, c * d.multiplier + m, source, oh, row.width, pixels);
        }
      }
      if (!end_slice()) return;
    }
  }
}

// --- channels on the lanes ---

Source copy_channels(const Depthwise& d, const Panel& channels, const Window& window,
                     const Scratch& scratch) {
  const Patches& p = d.patches;
  const std::ptrdiff_t pixel = d.kernel->lanes * d.kernel->vectors;
  const std::ptrdiff_t line = window.columns * pixel;
  for (std::ptrdiff_t i = 0; i < window.rows; ++i) {
    for (std::ptrdiff_t j = 0; j < window.columns; ++j) {
      float* to = scratch.copy + i * line + j * pixel;
      const std::ptrdiff_t ih = window.ih + i;
      const std::ptrdiff_t iw = window.iw + j;
      const bool exists = ih >= 0 && ih < p.height && iw >= 0 && iw < p.width;
      const std::ptrdiff_t count = exists ? channels.valid : 0;
      if (exists) {
        copy_run(to, p.image + ih * p.row_stride + iw * p.column_stride + channels.begin, count);
      }
      zero_run(to + count, channels.width - count);
    }
  }
  return {scratch.copy, p.stride_w * pixel, 0, p.dilation_h * line, scratch.copied};
}

void row_of_channels(const Depthwise& d, const Panel& channels, std::ptrdiff_t oh,
                     const Scratch& scratch) {
  const Patches& p = d.patches;
  const Panels across(p.out_width, d.kernel->rows, 1);
  for (std::ptrdiff_t i = 0; i < across.count(); ++i) {
    const Panel pixels = across[i];
    const Window window(p, oh, pixels.begin, 1, pixels.width);
    // A panel that is not full reads beyond the pixel's channels.
    const bool in_place = window.lies_inside(p) && channels.valid == channels.width;
    const float* first =
        p.image + window.ih * p.row_stride + window.iw * p.column_stride + channels.begin;
    const Source source = in_place ? Source{first, p.stride_w * p.column_stride, 0,
                                            p.dilation_h * p.row_stride, scratch.in_place}
                                   : copy_channels(d, channels, window, scratch);
    const Output output =
        d.destination.tile(Lanes::channels, channels.begin, oh * p.out_width + pixels.begin);
    const DepthwiseTile tile{source.x,
                             source.pixel_stride,
                             source.tap_row_stride,
                             p.kernel_h,
                             p.kernel_w,
                             source.columns,
                             d.filter_packed + channels.begin,
                             d.channel_panels().stored(),
                             static_cast<int>(channels.valid),
                             &output};
    d.kernel->tile[pixels.width - 1][channels.width / d.kernel->lanes - 1](tile);
  }
}

// --- scratch ---

std::ptrdiff_t offsets_floats(const Depthwise& d) {
  const auto bytes = static_cast<std::size_t>(2 * d.patches.kernel_w) * sizeof(std::ptrdiff_t);
  return static_cast<std::ptrdiff_t>(bytes / sizeof(float) + 15) / 16 * 16;
}

Scratch scratch_of(const Depthwise& d, float* floats) {
  const Patches& p = d.patches;
  auto* offsets = reinterpret_cast<std::ptrdiff_t*>(floats);
  const Scratch scratch{offsets, offsets + p.kernel_w, floats + offsets_floats(d)};
  for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
    const std::ptrdiff_t column = kw * p.dilation_w;
    scratch.in_place[kw] = column * p.column_stride;
    scratch.copied[kw] = d.lanes == Lanes::channels
                             ? column * d.kernel->lanes * d.kernel->vectors
                             : column % p.stride_w * phase_floats(d) + column / p.stride_w;
  }
  return scratch;
}

}  // namespace

std::ptrdiff_t depthwise_weights(const Depthwise& d) {
  const std::ptrdiff_t taps = d.patches.kernel_h * d.patches.kernel_w;
  return taps *
         (d.lanes == Lanes::pixels ? d.channels * d.multiplier : d.channel_panels().stored());
}

void pack_depthwise(const Depthwise& d, const FilterView& filter, float* packed) {
  const std::ptrdiff_t filters = d.channels * d.multiplier;
  const bool on_lanes = d.lanes == Lanes::channels;
  const std::ptrdiff_t taps = filter.kernel_h * filter.kernel_w;
  const std::ptrdiff_t filter_stride = on_lanes ? 1 : taps;
  const std::ptrdiff_t tap_stride = on_lanes ? d.channel_panels().stored() : 1;
  zero_run(packed, depthwise_weights(d));
  for (std::ptrdiff_t oc = 0; oc < filters; ++oc) {
    for (std::ptrdiff_t tap = 0; tap < taps; ++tap) {
      packed[oc * filter_stride + tap * tap_stride] =
          filter.data[oc * filter.oc_stride + tap / filter.kernel_w * filter.kh_stride +
                      tap % filter.kernel_w * filter.kw_stride];
    }
  }
}

std::ptrdiff_t depthwise_scratch(const Depthwise& d) {
  const Patches& p = d.patches;
  if (d.lanes == Lanes::channels) {
    const Window window(p, 0, 0, 1, d.kernel->rows);
    return offsets_floats(d) + window.rows * window.columns * d.kernel->lanes * d.kernel->vectors;
  }
  const Window window(p, 0, 0, d.kernel->rows, 1);
  return offsets_floats(d) + window.rows * p.stride_w * phase_floats(d);
}

void depthwise(const Depthwise& d, Range channels, Range rows, float* floats) noexcept {
  const Scratch scratch = scratch_of(d, floats);
  if (d.lanes == Lanes::pixels) {
    planes(d, channels, rows, scratch);
    return;
  }
  const Panels panels = d.channel_panels();
  for (std::ptrdiff_t oh = rows.begin; oh < rows.end; ++oh) {
    for (std::ptrdiff_t i = channels.begin; i < channels.end; ++i) {
      row_of_channels(d, panels[i], oh, scratch);
      if (!end_slice()) return;
    }
  }
}

}  // namespace gemmconv
