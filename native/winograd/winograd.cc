// SPDX-License-Identifier: MIT
#include "winograd/winograd.h"

#include <algorithm>

#include "lines.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Where the parts of the workspace lie, for blocks of so many tiles.
struct Workspace {
  std::ptrdiff_t v_stride;  // V: frequency, row panel of tiles, vector of channels, tile, lane
  std::ptrdiff_t m_stride;  // M: frequency, tile, filter of one panel
  std::ptrdiff_t m, strip;  // where they begin; V begins at 0
  std::ptrdiff_t size;
};

Workspace workspace_of(const Winograd& w) {
  const std::ptrdiff_t lanes = w.kernel->lanes;
  const std::ptrdiff_t frequencies = w.transforms->side * w.transforms->side;
  const std::ptrdiff_t dilation = w.patches.dilation_w;
  const std::ptrdiff_t tiles = w.block_spans * dilation;
  const std::ptrdiff_t v_stride = odd_lines(tiles * round_up(w.channels, lanes));
  const std::ptrdiff_t m_stride = odd_lines(tiles * w.kernel->vectors * lanes);
  // The longest strip of inputs is that of spans in a row. Outputs need less, but are read a whole
  // vector of pixels at a time.
  const std::ptrdiff_t pixels =
      w.transforms->side * (tiles * w.transforms->tile + (w.transforms->taps - 1) * dilation) +
      lanes;
  const std::ptrdiff_t m = frequencies * v_stride;
  const std::ptrdiff_t strip = m + frequencies * m_stride;
  return {v_stride, m_stride, m, strip, strip + pixels * lanes};
}

// Neighbouring spans of one image, or of one of those that are interleaved in it: whole rows, or a
// part of a row.
struct Rectangle {
  std::ptrdiff_t image, first_row;  // of the outputs: first_row, first_row + dilation, …
  std::ptrdiff_t row, column, rows, columns;
  std::ptrdiff_t size() const { return rows * columns; }
};

// The largest that begins with span `begin` and does not reach beyond `end`.
Rectangle rectangle(const Winograd& w, std::ptrdiff_t begin, std::ptrdiff_t end) {
  const std::ptrdiff_t rows = w.span_rows(), columns = w.span_columns();
  const std::ptrdiff_t dilation = w.patches.dilation_h;
  const std::ptrdiff_t row = begin / columns % rows, column = begin % columns;
  const std::ptrdiff_t whole = std::min((end - begin) / columns, rows - row);
  const std::ptrdiff_t interleaved = begin / columns / rows;
  const std::ptrdiff_t image = interleaved / dilation, first_row = interleaved % dilation;
  if (column == 0 && whole > 0) return {image, first_row, row, 0, whole, columns};
  return {image, first_row, row, column, 1, std::min(end - begin, columns - column)};
}

// The pixels of a strip of inputs: of every dilation_h-th row, but of every column.
struct StripSize {
  std::ptrdiff_t rows, columns;
};

StripSize input_strip(const Winograd& w, const Rectangle& at) {
  const std::ptrdiff_t tile = w.transforms->tile, overlap = w.transforms->taps - 1;
  return {at.rows * tile + overlap, (at.columns * tile + overlap) * w.patches.dilation_w};
}

// Reads a vector of channels of the inputs of a rectangle into a strip whose border is zero.
void read_strip(const Winograd& w, const Rectangle& at, std::ptrdiff_t channel, float* strip) {
  const Patches& p = w.patches;
  const std::ptrdiff_t tile = w.transforms->tile, lanes = w.kernel->lanes;
  const std::ptrdiff_t ih = at.row * tile * p.dilation_h + at.first_row - p.pad_top;
  const std::ptrdiff_t iw = at.column * tile * p.dilation_w - p.pad_left;
  const StripSize size = input_strip(w, at);
  const Range rows = inside(ih, p.dilation_h, p.height, size.rows);
  const Range columns = inside(iw, 1, p.width, size.columns);
  if (rows.size() == 0 || columns.size() == 0) return;
  // Whole rows are neighbours in memory: one run.
  const bool one_run = columns.size() == p.width && p.dilation_h == 1;
  const std::ptrdiff_t runs = one_run ? 1 : rows.size();
  const float* x = p.image + at.image * w.image_stride + channel * p.channel_stride +
                   (ih + rows.begin * p.dilation_h) * p.row_stride +
                   (iw + columns.begin) * p.column_stride;
  ChannelVectorsRead read{x,
                          p.channel_stride,
                          p.column_stride,
                          std::min(lanes, w.channels - channel),
                          one_run ? rows.size() * p.width : columns.size(),
                          columns.size(),
                          strip + (rows.begin * size.columns + columns.begin) * lanes,
                          size.columns * lanes};
  for (std::ptrdiff_t i = 0; i < runs; ++i) {
    w.vectors->read(read);
    read.x += p.dilation_h * p.row_stride;
    read.strip += read.strip_row_stride;
  }
}

// V of a rectangle of spans, the first tile of which is tile `first` of a block that is cut into
// `panels`, for the channels in the strip.
void transform_strip(const Winograd& w, const Rectangle& at, const Panels& panels,
                     std::ptrdiff_t first, std::ptrdiff_t channel, const float* strip,
                     std::ptrdiff_t v_stride, float* v) {
  const std::ptrdiff_t lanes = w.kernel->lanes, tile = w.transforms->tile;
  const std::ptrdiff_t dilation = w.patches.dilation_w;
  const std::ptrdiff_t row_stride = input_strip(w, at).columns * lanes;
  const std::ptrdiff_t padded_channels = round_up(w.channels, lanes);
  std::ptrdiff_t t = first, i = 0;
  Panel panel = panels[0];
  for (std::ptrdiff_t row = 0; row < at.rows; ++row) {
    for (std::ptrdiff_t column = 0; column < at.columns; ++column) {
      const float* x = strip + row * tile * row_stride + column * tile * dilation * lanes;
      for (std::ptrdiff_t phase = 0; phase < dilation; ++phase, ++t) {
        while (t >= panel.begin + panel.width) panel = panels[++i];
        w.transforms->input(
            x + phase * lanes, row_stride, dilation * lanes,
            v + panel.begin * padded_channels + channel * panel.width + (t - panel.begin) * lanes,
            v_stride);
      }
    }
  }
}

// V of one block of spans, all channels. (Reading an nhwc image in place, without a strip, was
// slower: 226 against 242 % of peak on 64@224.)
void transform_inputs(const Winograd& w, Range block, const Workspace& at, float* scratch) {
  const std::ptrdiff_t lanes = w.kernel->lanes, dilation = w.patches.dilation_w;
  const Panels panels{block.size() * dilation, w.kernel->mr, 1};
  float* const strip = scratch + at.strip;
  std::ptrdiff_t done = 0;
  while (done < block.size()) {
    const Rectangle spans = rectangle(w, block.begin + done, block.end);
    const StripSize size = input_strip(w, spans);
    std::fill_n(strip, size.rows * size.columns * lanes, 0.0f);
    for (std::ptrdiff_t c = 0; c < w.channels; c += lanes) {
      read_strip(w, spans, c, strip);
      transform_strip(w, spans, panels, done * dilation, c, strip, at.v_stride, scratch);
      if (!end_slice()) return;
    }
    done += spans.size();
  }
}

// Half of the channels: the error of two chains of sums is 1/√2 that of one.
std::ptrdiff_t chain_of(std::ptrdiff_t channels) { return (channels + 1) / 2; }

// How far ahead a lone row panel asks for its U (Zen 4, 512@7: 0.85 -> 0.80 ms on AVX-512, 1.35 ->
// 1.03 on AVX2; half as far and twice as far gain less).
constexpr std::ptrdiff_t kAheadFloats = 2048;

// M of one block of tiles and one panel of filters. U comes from far away, 37 MB of it for 512
// channels: while one frequency is multiplied, each row panel asks for its part of the next one's
// (AVX2, 512@14: 3.49 -> 3.16 ms; nothing to gain where L2 holds U).
void multiply(const Winograd& w, std::ptrdiff_t block_tiles, const Panel& filters,
              const Workspace& at, float* scratch) {
  const Panels panels{block_tiles, w.kernel->mr, 1};
  const std::ptrdiff_t frequencies = w.transforms->side * w.transforms->side;
  const std::ptrdiff_t padded_channels = round_up(w.channels, w.kernel->lanes);
  const std::ptrdiff_t vectors = filters.width / w.kernel->lanes;
  const std::ptrdiff_t u_size = w.channels * filters.width;
  const std::ptrdiff_t ahead = panels.count() == 1 ? kAheadFloats : u_size;
  const std::ptrdiff_t ahead_step = (filters.width + panels.count() - 1) / panels.count();
  WinogradProduct product{};
  product.channels = w.channels;
  product.chain = chain_of(w.channels);
  product.u = w.filter_packed + filters.begin * w.channels * frequencies;
  product.ahead_step = ahead_step;
  for (std::ptrdiff_t f = 0; f < frequencies; ++f) {
    const float* v = scratch + f * at.v_stride;
    float* m = scratch + at.m + f * at.m_stride;
    product.ahead = product.u + ahead;
    for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
      const Panel panel = panels[i];
      product.v = v + panel.begin * padded_channels;
      product.m = m + panel.begin * filters.width;
      w.kernel->product[panel.width - 1][vectors - 1](product);
      product.ahead += w.channels * ahead_step;
    }
    product.u += u_size;
    if (!end_slice()) return;
  }
}

// Outputs of a rectangle that exist: these of its interleaved image's rows, and of all columns.
struct Existing {
  Range rows, columns;
};

Existing existing(const Winograd& w, const Rectangle& at) {
  const std::ptrdiff_t dilation = w.patches.dilation_h;
  const std::ptrdiff_t tile = w.transforms->tile, span = tile * w.patches.dilation_w;
  const std::ptrdiff_t rows = (w.out_height - at.first_row + dilation - 1) / dilation;
  const std::ptrdiff_t row = at.row * tile, column = at.column * span;
  return {{row, std::max(row, std::min(row + at.rows * tile, rows))},
          {column, std::min(column + at.columns * span, w.patches.out_width)}};
}

// Writes the outputs of a rectangle, a vector of filters from the strip.
void write_strip(const Winograd& w, const Rectangle& at, const Existing& outputs,
                 std::ptrdiff_t filter, const float* strip) {
  Destination destination = w.destination;
  destination.c += at.image * w.destination_stride;
  if (destination.add != nullptr) destination.add += at.image * w.destination_stride;
  const Lanes lanes = destination.filter_stride == 1 ? Lanes::channels : Lanes::pixels;
  const auto& [rows, columns] = outputs;
  const std::ptrdiff_t dilation = w.patches.dilation_h;
  const bool one_run = columns.size() == w.patches.out_width && dilation == 1;
  const std::ptrdiff_t runs = one_run && rows.size() > 0 ? 1 : rows.size();
  const std::ptrdiff_t pixels = one_run ? rows.size() * columns.size() : columns.size();
  for (std::ptrdiff_t i = 0; i < runs; ++i) {
    const std::ptrdiff_t row = (rows.begin + i) * dilation + at.first_row;
    const std::ptrdiff_t pixel = row * w.patches.out_width + columns.begin;
    w.vectors->write({strip + i * pixels * w.kernel->lanes, pixels,
                      std::min<std::ptrdiff_t>(w.kernel->lanes, w.filters - filter),
                      lanes == Lanes::pixels, destination.tile(lanes, filter, pixel)});
  }
}

// Transforms the outputs of a rectangle into the strip; the first M of its first tile is at `m`.
void fill_strip(const Winograd& w, const Rectangle& at, const Existing& outputs,
                std::ptrdiff_t panel_width, const float* m, std::ptrdiff_t m_stride, float* strip) {
  const std::ptrdiff_t lanes = w.kernel->lanes, tile = w.transforms->tile;
  const std::ptrdiff_t dilation = w.patches.dilation_w;
  const std::ptrdiff_t width = outputs.columns.size();
  for (std::ptrdiff_t row = 0; row < at.rows * tile; row += tile) {
    const std::ptrdiff_t rows = std::min(tile, outputs.rows.size() - row);
    for (std::ptrdiff_t span = 0; span < at.columns; ++span) {
      for (std::ptrdiff_t phase = 0; phase < dilation; ++phase, m += panel_width) {
        const std::ptrdiff_t column = span * tile * dilation + phase;
        const std::ptrdiff_t columns = std::min(tile, (width - column + dilation - 1) / dilation);
        if (rows <= 0 || columns <= 0) continue;
        w.transforms->output({m, m_stride, strip + (row * width + column) * lanes, width * lanes,
                              dilation * lanes, rows, columns});
      }
    }
  }
}

// The outputs of one block of spans and one vector of filters, whose M begins at `m`.
void transform_outputs(const Winograd& w, Range block, std::ptrdiff_t filter,
                       std::ptrdiff_t panel_width, const float* m, const Workspace& at,
                       float* strip) {
  std::ptrdiff_t done = 0;
  while (done < block.size()) {
    const Rectangle spans = rectangle(w, block.begin + done, block.end);
    const Existing outputs = existing(w, spans);
    fill_strip(w, spans, outputs, panel_width, m + done * w.patches.dilation_w * panel_width,
               at.m_stride, strip);
    write_strip(w, spans, outputs, filter, strip);
    done += spans.size();
  }
}

// The finite points of the transforms in winograd_kernel.cc, where the matrices are explained.
constexpr double kPointsOfSide4[] = {0, 1, -1};
constexpr double kPointsOfSide6[] = {0, 0.625, -0.625, 1.5, -1.5};

// (Its extents known when compiled, it takes half of the time.)
template <int kSide, int kTaps>
struct FilterTransform {
  double g[kSide][kTaps] = {};

  FilterTransform() {
    const double* points = kSide == 4 ? kPointsOfSide4 : kPointsOfSide6;
    for (int i = 0; i < kSide - 1; ++i) {
      double derivative = 1, power = 1;
      for (int j = 0; j < kSide - 1; ++j) {
        if (j != i) derivative *= points[i] - points[j];
      }
      for (int tap = 0; tap < kTaps; ++tap, power *= points[i]) g[i][tap] = power / derivative;
    }
    g[kSide - 1][kTaps - 1] = 1;
  }

  // G·w·Gᵀ of one filter and channel, to u[frequency · stride].
  void operator()(const float* w, std::ptrdiff_t kh_stride, std::ptrdiff_t kw_stride, float* u,
                  std::ptrdiff_t stride) const {
    double half[kSide][kTaps];
    for (int kw = 0; kw < kTaps; ++kw, w += kw_stride) {
      double column[kTaps];
      for (int kh = 0; kh < kTaps; ++kh) column[kh] = static_cast<double>(w[kh * kh_stride]);
      for (int i = 0; i < kSide; ++i) half[i][kw] = product(g[i], column);
    }
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j, u += stride) *u = static_cast<float>(product(half[i], g[j]));
    }
  }

 private:
  static double product(const double (&a)[kTaps], const double (&b)[kTaps]) {
    double sum = a[0] * b[0];
    for (int tap = 1; tap < kTaps; ++tap) sum += a[tap] * b[tap];
    return sum;
  }
};

template <int kSide, int kTaps>
void pack(const FilterView& filter, const Panels& panels, float* packed) {
  const FilterTransform<kSide, kTaps> transform;
  constexpr std::ptrdiff_t kFrequencies = kSide * kSide;
  for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
    const Panel panel = panels[i];
    // Of one channel; in U its frequencies lie far apart, often in one set of the caches (Zen 4,
    // 3×3 256->256, F(4): 15.0 -> 3.8 ms).
    float u[kFrequencies * kMaxVectors * kMaxLanes] = {};
    float* to = packed + panel.begin * filter.channels * kFrequencies;
    for (std::ptrdiff_t c = 0; c < filter.channels; ++c, to += panel.width) {
      for (std::ptrdiff_t lane = 0; lane < panel.valid; ++lane) {
        transform(filter.data + (panel.begin + lane) * filter.oc_stride + c * filter.c_stride,
                  filter.kh_stride, filter.kw_stride, u + lane, panel.width);
      }
      for (std::ptrdiff_t f = 0; f < kFrequencies; ++f) {
        std::copy_n(u + f * panel.width, panel.width, to + f * filter.channels * panel.width);
      }
      if (!end_slice()) return;
    }
  }
}

}  // namespace

void winograd_pack(const FilterView& filter, const Panels& panels,
                   const WinogradTransforms& transforms, float* packed) {
  const auto pack_form = transforms.taps == 5   ? pack<6, 5>
                         : transforms.side == 4 ? pack<4, 3>
                                                : pack<6, 3>;
  pack_form(filter, panels, packed);
}

std::ptrdiff_t winograd_block_spans(const WinogradKernel& kernel,
                                    const WinogradTransforms& transforms, std::ptrdiff_t channels,
                                    std::ptrdiff_t dilation_w) {
  // Each block reads all of U once. From 56 tiles on (Zen 4; 28 with few channels) that hides
  // behind the multiplications, and longer blocks lose what they gain to V and M leaving L2.
  constexpr std::ptrdiff_t kTiles = 56;
  constexpr std::ptrdiff_t kMostV = std::ptrdiff_t{2} << 20;  // floats: thousands of channels
  const std::ptrdiff_t v_tile =
      transforms.side * transforms.side * round_up(channels, kernel.lanes);
  const std::ptrdiff_t most = v_tile == 0 ? kTiles : std::min(kTiles, kMostV / v_tile);
  const std::ptrdiff_t tiles = std::max<std::ptrdiff_t>(1, most / kernel.mr) * kernel.mr;
  return std::max<std::ptrdiff_t>(1, tiles / dilation_w);
}

std::ptrdiff_t winograd_scratch(const Winograd& winograd) { return workspace_of(winograd).size; }

void winograd(const Winograd& w, Range filter_panels, Range spans, float* scratch) noexcept {
  const Panels panels = w.filter_panels();
  const Workspace at = workspace_of(w);
  const Panels blocks{spans.size(), w.block_spans, 1};
  for (std::ptrdiff_t b = 0; b < blocks.count(); ++b) {
    const std::ptrdiff_t begin = spans.begin + blocks[b].begin;
    const Range block{begin, begin + blocks[b].width};
    transform_inputs(w, block, at, scratch);
    for (std::ptrdiff_t i = filter_panels.begin; i < filter_panels.end; ++i) {
      const Panel panel = panels[i];
      multiply(w, block.size() * w.patches.dilation_w, panel, at, scratch);
      for (std::ptrdiff_t v = 0; v < panel.width; v += w.kernel->lanes) {
        transform_outputs(w, block, panel.begin + v, panel.width, scratch + at.m + v, at,
                          scratch + at.strip);
        if (!end_slice()) return;
      }
    }
  }
}

}  // namespace gemmconv
