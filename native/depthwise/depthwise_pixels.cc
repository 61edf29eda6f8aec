// SPDX-License-Identifier: MIT
#include "depthwise/depthwise_pixels.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "depthwise/depthwise_lines.h"
#include "depthwise/depthwise_planes.h"
#include "interleaving.h"
#include "lines.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// Rows of a run of a 3×3 or 5×5 window, which begins with as many rows of the image as a window
// has: those under about so many floats, which L1 holds, within bounds (Zen 4, 3×3 at 56 pixels a
// side: 17.0 cycles a vector in runs of 16 rows, 13.5 in one of 56; at 1920, 12.6 in 16, 14.0 in
// 64). A 5×5 window computes more in vain where runs meet, and waits less (1080p: 1.18 ms in runs
// of 16, 1.05 in 40; of vectors half as wide, whose columns are half as wide, too, 1.82 in 48, 1.71
// in 64).
constexpr std::ptrdiff_t kFloatsOfSquare = 8192;
constexpr std::ptrdiff_t kFewestRowsOf3x3 = 16, kFewestRowsOf5x5 = 40, kMostRowsOfSquare = 64;
// Columns of such a run go down too many rows for the hardware to read ahead in each. They ask for
// what the next run needs, below or in the next plane (Zen 4, 3×3: 8 images of 144@56 1.60 -> 1.15
// ms, 96@224 in L3 4.2 -> 1.2, with what is but 128 floats ahead in the row); of wide rows, under
// which that is too far away, for what lies so many floats ahead (1080p, three channels: 5.5 ms
// without, 3.0 with 32, 1.9 with 64, 1.7 with 96 and 128; into L1, whose sets the rows share, 4.0;
// a run is up to 192 of them).
// At 960 floats what is below is the better to ask for, 1.69 -> 1.20 ms, at 1280 to 3856 now this,
// now that by a tenth, at 5760 and 8208 it is the worse.
constexpr std::ptrdiff_t kFloatsOfWideRow = 1200;
constexpr std::ptrdiff_t kFloatsAhead = 192;
// Dilations and paddings have no bounds, so many floats have.
constexpr std::ptrdiff_t kFarthest = std::ptrdiff_t{1} << 40;
// Floats of a row of outputs that are streamed: of fewer, a run would be longer than it was planned
// for. Of 3×3 windows where two vectors are a line, more (AVX2, 64@256 31 -> 38 ms, 3@512 2.9
// -> 2.8 to 4.1 -> 4.5, 20@800 5.2 -> 4.7, three channels of 1080p 2.9 -> 2.25).
constexpr std::ptrdiff_t kFewestStreamed = 192, kFewestStreamedByTwos = 768;
// Rows of outputs of any other window, of which a copy is made at once.
constexpr std::ptrdiff_t kRowsOfCopy = 8;
// Rows of outputs of one filter before the next of the same channel: its weights are spread over
// vectors once for all of them, and the image is still in L1 or L2 for the next.
constexpr std::ptrdiff_t kRowsOfFilter = 32;

// What is known before any tensor is: which kernels, and where everything is in the scratch.
class Shape {
 public:
  explicit Shape(const DepthwisePixels& d)
      : streams(can_stream(d)),
        lines(d, streams ? to_line(d) : -1),
        down(d.patches.stride_h, d.patches.dilation_h) {
    const Patches& p = d.patches;
    const DepthwisePixelsKernel& kernel = *d.kernel;
    const bool is_3x3 = is_window(p, 3);
    const bool is_5x5 = is_window(p, 5);
    in_place = p.stride_w == 1;
    const std::ptrdiff_t wide = p.width * d.interleaved;
    rows = rows_of_square(p.height / (p.stride_h * down.apart) + 1, wide * down.step,
                          !is_5x5              ? kFewestRowsOf3x3
                          : kernel.lanes >= 16 ? kFewestRowsOf5x5
                                               : kMostRowsOfSquare);
    const bool is_wide = wide >= kFloatsOfWideRow;
    const std::ptrdiff_t below = rows * down.apart;
    ahead = is_wide ? kFloatsAhead : std::min(below * p.stride_h, p.height) * wide;
    output_ahead = is_wide ? kFloatsAhead
                           : std::min(below, kFarthest / (lines.outputs() + 1)) * lines.outputs();
    if (d.interleaved == 1) output_ahead = std::min(output_ahead, d.destination.filter_stride);
    if (down.step == 1 && is_3x3) {
      kernels = kernel.run3;
    } else if (down.step == 1 && is_5x5) {
      kernels = kernel.run5;
    } else if (down.step == 1 && p.kernel_h >= kernel.any.mr) {
      kernels = kernel.several;
      rows = kernel.any.mr;
    } else {
      kernels = kernel.single;
      rows = kRowsOfCopy;
    }
    tap_floats = d.interleaved == 1 ? kernel.lanes : whole_lines(d.channels + kernel.lanes);
    const std::ptrdiff_t vectors = std::min(kVectorsOfRun, lines.count());
    const std::ptrdiff_t pixels = vectors * kernel.lanes / d.interleaved + 2;
    phase_pixels = pixels + (p.kernel_w - 1) * p.dilation_w / p.stride_w;
    line = whole_lines(p.stride_w * phase_pixels * d.interleaved);
  }

  std::ptrdiff_t offsets_floats(const Patches& p) const {
    const auto bytes = static_cast<std::size_t>(2 * p.kernel_w) * sizeof(std::ptrdiff_t);
    return whole_lines(static_cast<std::ptrdiff_t>(bytes / sizeof(float)));
  }
  std::ptrdiff_t weights_floats(const Patches& p) const {
    return whole_lines((p.kernel_h * p.kernel_w + 1) * tap_floats);
  }
  std::ptrdiff_t masks_floats(const DepthwisePixels& d) const {
    if (!in_place) return 0;
    // Streamed, there may be one more at each border than where the output starts with a line.
    const std::ptrdiff_t masked = lines.masked() + (streams ? 2 : 0);
    return masked * d.patches.kernel_w * d.kernel->lanes;
  }
  // The last vector of a copy may be read beyond the line by less than a vector.
  std::ptrdiff_t copy_floats(const DepthwisePixels& d) const {
    return ((rows - 1) * down.step + d.patches.kernel_h) * line + d.kernel->lanes;
  }

  static bool is_window(const Patches& p, std::ptrdiff_t side) {
    return p.kernel_h == side && p.kernel_w == side;
  }

  // Where lines of memory start at the same outputs of all rows, and there are enough of them: of
  // twelve vectors nine are streamed, for one more than there were. Where two vectors are a line
  // they are computed side by side, and so must be neighbours.
  static bool can_stream(const DepthwisePixels& d) {
    const Patches& p = d.patches;
    const std::ptrdiff_t floats = p.out_width * d.interleaved;
    return d.is_streamed && d.kernel->can_stream && p.stride_h == 1 && p.stride_w == 1 &&
           (is_window(p, 3) || is_window(p, 5)) && floats % kLineFloats == 0 &&
           (d.kernel->lanes >= kLineFloats || d.kernel->lanes % d.interleaved == 0) &&
           floats >= (d.kernel->lanes >= kLineFloats || is_window(p, 5) ? kFewestStreamed
                                                                        : kFewestStreamedByTwos);
  }

  // Node's arrays start 16 bytes into a line.
  static std::ptrdiff_t to_line(const DepthwisePixels& d) {
    const auto floats = reinterpret_cast<std::uintptr_t>(d.destination.c) / sizeof(float);
    return kLineFloats - static_cast<std::ptrdiff_t>(floats % kLineFloats);
  }

  // Of about so many rows in all, cut evenly.
  static std::ptrdiff_t rows_of_square(std::ptrdiff_t rows, std::ptrdiff_t floats_of_row,
                                       std::ptrdiff_t fewest) {
    const std::ptrdiff_t most =
        std::clamp(kFloatsOfSquare / floats_of_row, fewest, kMostRowsOfSquare);
    const std::ptrdiff_t runs = (rows + most - 1) / most;
    return (rows + runs - 1) / runs;
  }

  const bool streams;
  const DepthwiseLines lines;
  const Interleaving down;
  bool in_place;
  const DepthwisePixelsKernel::Run* kernels;  // [masked]
  std::ptrdiff_t rows;                        // of a run, at most
  std::ptrdiff_t ahead, output_ahead;
  std::ptrdiff_t tap_floats;          // of the weights of a tap
  std::ptrdiff_t phase_pixels, line;  // of the copy
};

class Planes {
 public:
  Planes(const DepthwisePixels& d, float* scratch) : d_(d), shape_(d) {
    const Patches& p = d.patches;
    in_place_ = reinterpret_cast<std::ptrdiff_t*>(scratch);
    copied_ = in_place_ + p.kernel_w;
    w_ = scratch + shape_.offsets_floats(p);
    bias_ = w_ + p.kernel_h * p.kernel_w * shape_.tap_floats;
    copy_ = w_ + shape_.weights_floats(p);
    masks_ = reinterpret_cast<int*>(copy_ + shape_.copy_floats(d));  // no more than planned
    for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
      const std::ptrdiff_t column = kw * p.dilation_w;
      in_place_[kw] = column * d.interleaved;
      copied_[kw] =
          (column % p.stride_w * shape_.phase_pixels + column / p.stride_w) * d.interleaved;
    }
    if (shape_.in_place) shape_.lines.fill_masks(masks_);
  }

  void compute(Range channels, Range rows) {
    if (d_.interleaved > 1) {
      repeat_weights();
      end_ = output_row(0, rows.end);
      filter(0, 0, rows);
      return;
    }
    const std::ptrdiff_t block = rows_of_filter();
    const bool whole =
        rows.size() * d_.patches.out_width == d_.destination.filter_stride && rows.size() <= block;
    for (std::ptrdiff_t c = channels.begin; c < channels.end; ++c) {
      for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += block) {
        const std::ptrdiff_t end = std::min(oh + block, rows.end);
        for (std::ptrdiff_t m = 0; m < d_.multiplier; ++m) {
          const std::ptrdiff_t f = c * d_.multiplier + m;
          spread_weights(f);
          end_ = whole ? output_row(channels.end * d_.multiplier, 0) : output_row(f, end);
          if (!filter(c, f, {oh, end})) return;
        }
      }
    }
  }

 private:
  std::ptrdiff_t taps() const { return d_.patches.kernel_h * d_.patches.kernel_w; }
  std::ptrdiff_t rows_of_filter() const {
    const std::ptrdiff_t tile = shape_.rows * shape_.down.apart;
    return std::max(kRowsOfFilter / tile, std::ptrdiff_t{1}) * tile;
  }
  float* output_row(std::ptrdiff_t filter, std::ptrdiff_t oh) const {
    return d_.destination.c + filter * d_.destination.filter_stride + oh * shape_.lines.outputs();
  }

  void spread_weights(std::ptrdiff_t filter) {
    d_.kernel->spread(d_.weights + filter * taps(), taps(), w_);
    d_.kernel->spread(d_.destination.bias + filter, 1, bias_);
  }

  // Until a vector can start at any channel.
  void repeat_weights() {
    for (std::ptrdiff_t tap = 0; tap <= taps(); ++tap) {
      const float* from = tap < taps() ? d_.weights + tap * d_.channels : d_.destination.bias;
      float* to = w_ + tap * shape_.tap_floats;
      for (std::ptrdiff_t i = 0; i < shape_.tap_floats; ++i) to[i] = from[i % d_.channels];
    }
  }

  // False when nobody wants the result any more.
  bool filter(std::ptrdiff_t channel, std::ptrdiff_t filter, Range rows) {
    const Interleaving& down = shape_.down;
    const std::ptrdiff_t tile = shape_.rows * down.apart;
    for (std::ptrdiff_t first = rows.begin; first < rows.end; first += tile) {
      for (std::ptrdiff_t oh = first; oh < std::min(first + down.apart, rows.end); ++oh) {
        std::ptrdiff_t exist = rows.end - oh;
        if (down.apart > 1) exist = (exist + down.apart - 1) / down.apart;
        rows_of_filter(channel, filter, oh, std::min(exist, shape_.rows));
      }
      if (!end_slice()) return false;
    }
    return true;
  }

  // `rows` output rows, of those that share image rows, from oh on.
  void rows_of_filter(std::ptrdiff_t channel, std::ptrdiff_t filter, std::ptrdiff_t oh,
                      std::ptrdiff_t rows) {
    const Patches& p = d_.patches;
    const DepthwiseLines& lines = shape_.lines;
    const std::ptrdiff_t ih = oh * p.stride_h - p.pad_top;
    const Range inside_h =
        inside(ih, p.dilation_h, p.height, (rows - 1) * shape_.down.step + p.kernel_h);
    const float* image_row = p.image + channel * p.channel_stride + ih * p.row_stride;
    float* const row = output_row(filter, oh);
    const float* const add =
        d_.destination.add == nullptr ? nullptr : d_.destination.add + (row - d_.destination.c);
    Output output{
        row, add, shape_.down.apart * lines.outputs(), 1, bias_, true, d_.destination.epilogue};
    DepthwisePixelsRun run;
    run.kernel_h = p.kernel_h;
    run.kernel_w = p.kernel_w;
    run.rows = rows;
    run.w = w_;
    run.bias = bias_;
    run.tap_stride = shape_.tap_floats;
    run.phase = 0;
    run.phase_step = d_.interleaved == 1 ? 0 : d_.kernel->lanes % d_.interleaved;
    run.period = d_.interleaved;
    run.alike = d_.interleaved / std::gcd(d_.interleaved, shape_.lines.lanes());
    run.valid_lanes = static_cast<int>(lines.valid());
    run.end = shape_.down.apart == 1 ? end_ : row;
    run.ahead = shape_.ahead;
    run.output_ahead = shape_.output_ahead;
    run.output = &output;
    for (std::ptrdiff_t m = 0; m < lines.count(); m += run.vectors) {
      const std::ptrdiff_t begin = lines.begin(m);
      run.vectors = lines.run_from(m);
      if (d_.interleaved > 1) run.phase = begin % run.period;
      run.streams = shape_.streams && lines.is_apart(m);
      output.c = row + begin;
      if (add != nullptr) output.add = add + begin;
      const bool is_outside = lines.is_outside(m);
      run.row_begin = is_outside ? 0 : inside_h.begin;
      run.row_end = is_outside ? 0 : inside_h.end;
      if (!read_in_place(run, image_row, m)) read_copy(run, image_row, begin);
      compute(run);
    }
  }

  void compute(const DepthwisePixelsRun& run) const {
    const auto kernel = shape_.kernels[run.masks != nullptr];
    if (shape_.kernels != d_.kernel->single) {
      kernel(run);
      return;
    }
    DepthwisePixelsRun row = run;
    Output output = *run.output;
    row.rows = 1;
    row.output = &output;
    for (std::ptrdiff_t r = 0; r < run.rows; ++r) {
      row.row_begin = std::max(run.row_begin - r * shape_.down.step, std::ptrdiff_t{0});
      row.row_end = std::min(run.row_end - r * shape_.down.step, run.kernel_h);
      kernel(row);
      row.x += shape_.down.step * run.tap_row_stride;
      output.c += output.row_stride;
      if (output.add != nullptr) output.add += output.row_stride;
    }
  }

  // Whole vectors are read: not where these leave the image.
  bool read_in_place(DepthwisePixelsRun& run, const float* image_row, std::ptrdiff_t m) const {
    if (!shape_.in_place) return false;
    const Patches& p = d_.patches;
    const std::ptrdiff_t first = shape_.lines.begin(m) - p.pad_left * d_.interleaved;
    run.x = image_row + first;
    run.tap_row_stride = p.dilation_h * p.row_stride;
    run.columns = in_place_;
    const float* const low = run.x + run.row_begin * run.tap_row_stride;
    const float* const high = run.x + (run.row_end - 1) * run.tap_row_stride +
                              in_place_[p.kernel_w - 1] + run.vectors * d_.kernel->lanes;
    if (run.row_begin < run.row_end &&
        (low < p.image || high > p.image + d_.channels * p.height * p.width)) {
      return false;
    }
    run.masks = shape_.lines.is_masked(m)
                    ? masks_ + shape_.lines.masked_index(m) * p.kernel_w * d_.kernel->lanes
                    : nullptr;
    return true;
  }

  // Copies the rows that a run reads: column j of its window is pixel j / stride_w of phase
  // j % stride_w.
  void read_copy(DepthwisePixelsRun& run, const float* image_row, std::ptrdiff_t begin) const {
    const Patches& p = d_.patches;
    const std::ptrdiff_t pixel = begin / d_.interleaved;
    for (std::ptrdiff_t i = run.row_begin; i < run.row_end; ++i) {
      for (std::ptrdiff_t phase = 0; phase < p.stride_w; ++phase) {
        copy_phase(copy_ + i * shape_.line + phase * shape_.phase_pixels * d_.interleaved,
                   image_row + i * p.dilation_h * p.row_stride,
                   pixel * p.stride_w - p.pad_left + phase);
      }
    }
    run.x = copy_ + begin % d_.interleaved;
    run.tap_row_stride = shape_.line;
    run.columns = copied_;
    run.masks = nullptr;
  }

  void copy_phase(float* to, const float* image_row, std::ptrdiff_t iw) const {
    const Patches& p = d_.patches;
    const auto [begin, end] = inside(iw, p.stride_w, p.width, shape_.phase_pixels);
    if (d_.interleaved == 1) {
      d_.strip->copy_line({image_row + iw + begin * p.stride_w, 0, p.stride_w, to, 0, 1, begin,
                           end - begin, shape_.phase_pixels - end});
      return;
    }
    const std::ptrdiff_t floats = d_.interleaved;
    zero_run(to, begin * floats);
    for (std::ptrdiff_t i = begin; i < end; ++i) {
      copy_run(to + i * floats, image_row + (iw + i * p.stride_w) * floats, floats);
    }
    zero_run(to + end * floats, (shape_.phase_pixels - end) * floats);
  }

  const DepthwisePixels& d_;
  const Shape shape_;
  std::ptrdiff_t *in_place_, *copied_;  // offset of each filter column
  float *w_, *bias_;
  int* masks_;
  float* copy_;
  float* end_ = nullptr;  // vectors may run over into what is computed later, up to here
};

}  // namespace

DepthwisePixelsForm depthwise_pixels_form(const DepthwisePixels& d) {
  const Shape shape(d);
  const bool is_single = shape.kernels == d.kernel->single;
  const bool is_square = !is_single && shape.kernels != d.kernel->several;
  const TileShape square = d.patches.kernel_w == 3 ? d.kernel->three : d.kernel->five;
  const TileShape any{is_single ? 1 : d.kernel->any.mr, d.kernel->any.vectors};
  const double runs = static_cast<double>(shape.lines.count()) / kVectorsOfRun;
  const double copied = static_cast<double>(shape.copy_floats(d)) /
                        static_cast<double>(shape.rows) * std::max(runs, 1.0);
  return {shape.lines.count(), is_single ? 1 : shape.rows, is_square, shape.in_place ? 0 : copied,
          is_square ? square : any};
}

std::ptrdiff_t depthwise_pixels_scratch(const DepthwisePixels& d) {
  if (can_compute_planes(d)) return depthwise_planes_scratch(d);
  const Shape shape(d);
  return shape.offsets_floats(d.patches) + shape.weights_floats(d.patches) + shape.masks_floats(d) +
         shape.copy_floats(d);
}

void depthwise_pixels(const DepthwisePixels& d, Range channels, Range rows,
                      float* scratch) noexcept {
  if (can_compute_planes(d)) {
    depthwise_planes(d, channels, rows, scratch);
    return;
  }
  Planes(d, scratch).compute(channels, rows);
  if (d.is_streamed) d.kernel->end_streaming();
}

}  // namespace gemmconv
