// SPDX-License-Identifier: MIT
#include "depthwise/depthwise_planes.h"

#include <algorithm>
#include <limits>

#include "lines.h"
#include "threads/slice.h"

namespace gemmconv {
namespace {

// Of larger planes with steps of one there is little to gain, and outputs past the caches go
// another way (depthwise_pixels.cc). All rows under a tile may be copied to scratch.
constexpr std::ptrdiff_t kPlaneMost = 128 * 128;
constexpr std::ptrdiff_t kWidthMost = 8192;
// Rows of outputs of a tile: those over about so many floats, which L1 holds, within bounds.
constexpr std::ptrdiff_t kFloatsOfTile = 8192;
constexpr std::ptrdiff_t kFewestRows = 16, kMostRows = 64;
// What is asked for is what the next tile needs, below or in the next plane; of wide rows so many
// floats further on in the row (depthwise_pixels.cc).
constexpr std::ptrdiff_t kFloatsOfWideRow = 1200;
constexpr std::ptrdiff_t kFloatsAhead = 128;
// Multiply-adds of vectors of one call, some ten microseconds.
constexpr std::ptrdiff_t kVectorsOfCall = 32768;
// Outputs that are finished apart.
constexpr std::ptrdiff_t kFloatsApart = 4096;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What is known before any tensor is.
class Shape {
 public:
  explicit Shape(const DepthwisePixels& d) : p(d.patches), lanes(d.planes->lanes) {
    const DepthwisePlanesKernel& kernel = *d.planes;
    const int side = p.kernel_h == 3 ? 0 : p.kernel_h == 5 ? 1 : 2;
    step = p.stride_w;
    vectors = (p.out_width + lanes - 1) / lanes;
    // An odd number of them is one more where two are side by side.
    const bool are_beside = step == 2 && kernel.vectors > 1 && (vectors % 2 == 0 || vectors > 4);
    beside = are_beside ? 2 : 1;
    single = step == 1 ? kernel.by_one[side] : kernel.by_two[side][beside - 1];
    if (step == 1 && p.out_width <= lanes / 2) pair = kernel.pair[side];
    if (step == 2 && side == 0 && p.out_width < lanes / 2) pair = kernel.pair_by_two;
    // 3×3 have too little to do: in L3 3 % faster, from memory 15 % slower (144@56, Zen 4), where
    // 5×5 are 8 to 15 % faster.
    const std::ptrdiff_t rest = p.out_width % lanes;
    if (side == 1 && step == 1 && p.out_width > lanes && rest > 0 && rest <= lanes / 2) {
      halves = kernel.pair[side];
    }
    last = std::max(p.out_width - beside * lanes, std::ptrdiff_t{0});
    row_floats = last * step + beside * lanes * step + p.kernel_w - step;
    written = last + beside * lanes;
    rows = rows_of_tile();
    tile_floats = rows * p.out_width;
    apart = std::max(kFloatsApart / tile_floats, std::ptrdiff_t{1});
    const std::ptrdiff_t columns = p.kernel_w + (rows - 1) * step;
    copied_rows = std::min(columns, p.height);
  }

  // So many outputs beyond a plane's last are written, too.
  std::ptrdiff_t beyond(bool is_pair) const {
    return std::max(is_pair ? lanes / 2 - p.out_width : written - p.out_width, std::ptrdiff_t{0});
  }
  std::ptrdiff_t inside_floats() const { return whole_lines(row_floats); }
  std::ptrdiff_t copy_floats() const {
    return whole_lines(p.kernel_w + copied_rows * p.width + row_floats);
  }
  // Of one of two halves of the planes that are finished apart.
  std::ptrdiff_t apart_floats() const { return whole_lines(apart * tile_floats + 2 * written); }

  const Patches& p;
  std::ptrdiff_t lanes, step;
  std::ptrdiff_t vectors, beside;  // of a row, and of these side by side
  DepthwisePlanesKernel::Run single, pair = nullptr;
  DepthwisePlanesKernel::Run halves = nullptr;  // of two planes, after whole vectors of each
  std::ptrdiff_t last;                          // where a row's last vectors begin
  std::ptrdiff_t row_floats;  // that are read of the image, from the first window's first column on
  std::ptrdiff_t written;     // of a row, at least its outputs
  std::ptrdiff_t rows, tile_floats, copied_rows;  // of a tile, at most
  std::ptrdiff_t apart;                           // so many planes

 private:
  // Cut evenly.
  std::ptrdiff_t rows_of_tile() const {
    const std::ptrdiff_t all = p.height / step + 1;
    const std::ptrdiff_t most =
        std::clamp(kFloatsOfTile / (p.width * step), kFewestRows, kMostRows);
    const std::ptrdiff_t tiles = (all + most - 1) / most;
    return (all + tiles - 1) / tiles;
  }
};

class Planes {
 public:
  Planes(const DepthwisePixels& d, Range channels, Range rows, float* scratch)
      : d_(d),
        p_(d.patches),
        plane_(d.patches.height * d.patches.width),
        shape_(d),
        channels_(channels),
        rows_(rows),
        is_whole_(rows.size() * p_.out_width == d.destination.filter_stride),
        inside_(reinterpret_cast<int*>(scratch)),
        copy_(scratch + shape_.inside_floats()),
        sums_(copy_ + shape_.copy_floats()) {
    const Epilogue& e = d.destination.epilogue;
    is_clamp_ = d.destination.only_clamps();
    for (std::ptrdiff_t i = 0; i < shape_.row_floats; ++i) {
      inside_[i] = i >= p_.pad_left && i < p_.pad_left + p_.width ? -1 : 0;
    }
    const bool is_wide = p_.width >= kFloatsOfWideRow;
    run_.plane_stride = plane_;
    run_.row_stride = p_.width;
    run_.last = shape_.last;
    run_.inside = inside_;
    run_.output_row_stride = p_.out_width;
    run_.min = is_clamp_ ? e.min : -kInfinity;
    run_.max = is_clamp_ ? e.max : kInfinity;
    const std::ptrdiff_t below = std::min(shape_.rows * p_.stride_h, p_.height) * p_.width;
    run_.ahead = is_wide ? kFloatsAhead : below;
    run_.output_ahead =
        is_wide ? kFloatsAhead : std::min(shape_.tile_floats, d.destination.filter_stride);
  }

  void compute() {
    const std::ptrdiff_t taps = p_.kernel_h * p_.kernel_w;
    const std::ptrdiff_t work = std::min(rows_.size(), shape_.rows) * shape_.vectors * taps;
    const bool several = d_.multiplier == 1 && rows_.size() <= shape_.rows;
    const std::ptrdiff_t most = several ? std::max(kVectorsOfCall / work, std::ptrdiff_t{1}) : 1;
    const std::ptrdiff_t end = channels_.end * d_.multiplier;
    for (std::ptrdiff_t f = channels_.begin * d_.multiplier; f < end;) {
      const std::ptrdiff_t count = std::min(most, end - f);
      for (std::ptrdiff_t oh = rows_.begin; oh < rows_.end; oh += shape_.rows) {
        tile(f, count, {oh, std::min(oh + shape_.rows, rows_.end)});
        if (!end_slice()) return;
      }
      f += count;
    }
  }

 private:
  float* output_row(std::ptrdiff_t filter, std::ptrdiff_t oh) const {
    return d_.destination.c + filter * d_.destination.filter_stride + oh * p_.out_width;
  }

  // The same rows of some filters.
  void tile(std::ptrdiff_t f, std::ptrdiff_t count, Range rows) {
    const std::ptrdiff_t ih = rows.begin * p_.stride_h - p_.pad_top;
    const Range under = inside(ih, 1, p_.height, p_.rows_under(rows.size()));
    tile_rows_ = rows;
    run_.rows = rows.size();
    run_.row_begin = under.begin;
    run_.row_end = under.end;
    // Whole vectors are read: where these leave the image, a copy is.
    const float* const x = p_.image + f / d_.multiplier * plane_ + ih * p_.row_stride - p_.pad_left;
    const float* const end = p_.image + d_.channels * plane_;
    const auto is_inside = [&](std::ptrdiff_t plane) {
      const float* const first = x + plane * plane_;
      return first + under.begin * p_.row_stride >= p_.image &&
             first + (under.end - 1) * p_.row_stride + shape_.row_floats <= end;
    };
    std::ptrdiff_t begin = 0;
    while (begin < count && under.size() > 0 && !is_inside(begin)) copied(x, f, begin++);
    std::ptrdiff_t last = count;
    while (begin < last && under.size() > 0 && !is_inside(last - 1)) --last;
    planes(x + begin * plane_, f + begin, last - begin);
    for (; last < count; ++last) copied(x, f, last);
  }

  void copied(const float* x, std::ptrdiff_t f, std::ptrdiff_t plane) {
    const float* const from = x + plane * plane_ + p_.pad_left;
    float* const to = copy_ + p_.kernel_w;
    copy_run(to, from + run_.row_begin * p_.row_stride,
             (run_.row_end - run_.row_begin) * p_.row_stride);
    planes(to - run_.row_begin * p_.row_stride - p_.pad_left, f + plane, 1);
  }

  // So many planes, whose rows may be read beyond their ends.
  void planes(const float* x, std::ptrdiff_t f, std::ptrdiff_t count) {
    if (shape_.halves != nullptr) {
      // So many that the second pass finds them in L1.
      const std::ptrdiff_t most = std::max(kFloatsOfTile / (2 * plane_), std::ptrdiff_t{1});
      while (count > 1) {
        const std::ptrdiff_t half = std::min(most, count / 2);
        outputs(shape_.halves, x, f, half, half);
        x += 2 * half * plane_;
        f += 2 * half;
        count -= 2 * half;
      }
    }
    const std::ptrdiff_t half = shape_.pair == nullptr ? 0 : count / 2;
    if (half > 0) outputs(shape_.pair, x, f, half, half);
    if (2 * half < count) {
      outputs(shape_.single, x + 2 * half * plane_, f + 2 * half, count - 2 * half, 0);
    }
  }

  // What lies beyond a plane's rows is written, too: where nothing is computed there later, and
  // where a clamp does not finish the sums, they go through scratch. With `other`, as many planes
  // that lie so many filters further on are computed as well.
  void outputs(DepthwisePlanesKernel::Run kernel, const float* x, std::ptrdiff_t f,
               std::ptrdiff_t count, std::ptrdiff_t other) {
    std::ptrdiff_t direct = is_clamp_ ? count : 0;
    while (direct > 0 && !is_free(f, direct - 1, other)) --direct;
    run_.other = other * plane_;
    run_.other_filter = other;
    if (direct > 0) {
      run_.c = output_row(f, tile_rows_.begin);
      run_.output_plane_stride = d_.destination.filter_stride;
      run_.other_output = other * d_.destination.filter_stride;
      call(kernel, x, f, direct);
    }
    const std::ptrdiff_t floats = run_.rows * p_.out_width;
    run_.c = sums_;
    run_.output_plane_stride = floats;
    run_.other_output = shape_.apart_floats();
    for (std::ptrdiff_t i = direct; i < count;) {
      const std::ptrdiff_t now = std::min(shape_.apart, count - i);
      call(kernel, x + i * plane_, f + i, now);
      // The last first: vectors that are not whole reach into what follows.
      for (std::ptrdiff_t j = now; j-- > 0;) {
        finish(sums_ + j * floats, f + i + j);
        if (other > 0) finish(sums_ + run_.other_output + j * floats, f + i + j + other);
      }
      i += now;
    }
  }

  // Whether what lies right beyond the rows of plane f + i, and of the other's, is computed later.
  bool is_free(std::ptrdiff_t f, std::ptrdiff_t i, std::ptrdiff_t other) const {
    const std::ptrdiff_t beyond = shape_.beyond(other > 0);
    if (beyond == 0) return true;
    const auto fits = [&](std::ptrdiff_t filter, const float* end) {
      return output_row(filter, tile_rows_.end) + beyond <= end;
    };
    if (!is_whole_) return fits(f + i, output_row(f + i, rows_.end));
    // The first others are written before these planes' last.
    return (other == 0 || fits(f + i, output_row(f + other, 0))) &&
           fits(f + i + other, output_row(channels_.end * d_.multiplier, 0));
  }

  void call(DepthwisePlanesKernel::Run kernel, const float* x, std::ptrdiff_t f,
            std::ptrdiff_t count) {
    run_.x = x;
    run_.planes = count;
    run_.w = d_.weights + f * p_.kernel_h * p_.kernel_w;
    run_.bias = d_.destination.bias + f;
    if (kernel == shape_.halves && kernel != nullptr) {
      whole_vectors_and_halves();
    } else {
      kernel(run_);
    }
  }

  // The halves end where the row does, and overlap what comes before.
  void whole_vectors_and_halves() const {
    DepthwisePlanesRun run = run_;
    run.last = p_.out_width / shape_.lanes * shape_.lanes - shape_.lanes;
    run.other_filter = 0;
    shape_.single(run);
    run.x += run_.other;
    run.c += run_.other_output;
    run.w += run_.other_filter * p_.kernel_h * p_.kernel_w;
    run.bias += run_.other_filter;
    shape_.single(run);
    run = run_;
    const std::ptrdiff_t at = p_.out_width - shape_.lanes / 2;
    run.last = 0;
    run.x += at;
    run.c += at;
    run.inside += at;
    run.ahead = run.output_ahead = 0;
    shape_.halves(run);
  }

  void finish(float* sums, std::ptrdiff_t f) const {
    float* const c = output_row(f, tile_rows_.begin);
    const float* const add =
        d_.destination.add == nullptr ? nullptr : d_.destination.add + (c - d_.destination.c);
    d_.planes->finish(sums, run_.rows * p_.out_width,
                      {c, add, 0, 1, nullptr, false, d_.destination.epilogue});
  }

  const DepthwisePixels& d_;
  const Patches& p_;
  const std::ptrdiff_t plane_;
  const Shape shape_;
  const Range channels_, rows_;
  const bool is_whole_;  // all rows of each plane
  int* inside_;
  float *copy_, *sums_;
  bool is_clamp_;
  Range tile_rows_{};
  DepthwisePlanesRun run_{};
};

}  // namespace

bool can_compute_planes(const DepthwisePixels& d) {
  const Patches& p = d.patches;
  const bool has_kernel =
      p.kernel_w == 3 || p.kernel_w == 5 || (p.kernel_w == 2 && p.stride_w == 2);
  const bool is_square = p.kernel_h == p.kernel_w && has_kernel;
  const bool is_dense = p.stride_h == p.stride_w && p.dilation_h == 1 && p.dilation_w == 1;
  if (d.interleaved != 1 || !is_square || !is_dense || p.width > kWidthMost) return false;
  if (p.stride_w > 2 || (p.stride_w == 1 && p.height * p.width > kPlaneMost)) return false;
  // Each window sees some column.
  const std::ptrdiff_t beside =
      p.stride_w == 1 || d.planes->masks_all ? p.kernel_w - 1 : p.kernel_w / 2;
  const std::ptrdiff_t last = (p.out_width - 1) * p.stride_w - p.pad_left + p.kernel_w - 1;
  return p.pad_left <= beside && last - beside < p.width;
}

DepthwisePlanesForm depthwise_planes_form(const DepthwisePixels& d, std::ptrdiff_t out_height) {
  const Shape shape(d);
  const double half = shape.halves == nullptr ? 0 : 0.5;
  return {shape.lanes,
          static_cast<double>(shape.vectors) - half,
          shape.pair == nullptr ? 1 : 2,
          shape.beside,
          (out_height + shape.rows - 1) / shape.rows,
          {static_cast<int>((d.patches.kernel_h + d.patches.stride_h - 1) / d.patches.stride_h),
           static_cast<int>(shape.beside)}};
}

std::ptrdiff_t depthwise_planes_scratch(const DepthwisePixels& d) {
  const Shape shape(d);
  return shape.inside_floats() + shape.copy_floats() + 2 * shape.apart_floats();
}

void depthwise_planes(const DepthwisePixels& d, Range channels, Range rows,
                      float* scratch) noexcept {
  Planes(d, channels, rows, scratch).compute();
}

}  // namespace gemmconv
