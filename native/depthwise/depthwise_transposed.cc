// SPDX-License-Identifier: MIT
#include "depthwise/depthwise_transposed.h"

#include <algorithm>
#include <limits>

#include "threads/slice.h"

namespace gemmconv {
namespace {

// Pixels of the image and of the output at hand, 64 bytes each with the widest vectors.
constexpr std::ptrdiff_t kPixelsOfBand = 2048;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Bias and activation wait for the way back: -0 is what a sum stays the same by, whatever it is.
constexpr struct Untouched {
  alignas(64) float bias[kMaxLanes];
  constexpr Untouched() : bias{} {
    for (float& b : bias) b = -0.0f;
  }
} kUntouched;
constexpr Epilogue kNone{Activation::none, -kInfinity, kInfinity};

// The image is convolved a band of output rows at a time.
class Bands {
 public:
  explicit Bands(const DepthwiseTransposed& d)
      : d_(d), p_(d.patches), lanes_(d.kernel->lanes), rows_(rows_of_band()) {}

  std::ptrdiff_t image_floats() const { return p_.image_rows_under(rows_) * p_.width * lanes_; }
  // The last vector of pixels is written back whole.
  std::ptrdiff_t sums_floats() const { return (rows_ * p_.out_width + lanes_) * lanes_; }

  DepthwiseChannelsForm form() const {
    return depthwise_channels_form(panel_at(nullptr, 0, nullptr, 0, nullptr));
  }

  void compute(Range panels, Range rows, float* scratch) const {
    for (std::ptrdiff_t panel = panels.begin; panel < panels.end; ++panel) {
      for (std::ptrdiff_t oh = rows.begin; oh < rows.end; oh += rows_) {
        band(panel, {oh, std::min(oh + rows_, rows.end)}, scratch);
        if (!end_slice()) return;
      }
    }
  }

 private:
  std::ptrdiff_t rows_of_band() const {
    const std::ptrdiff_t first = p_.image_rows_under(1) * p_.width + p_.out_width;
    const std::ptrdiff_t next = p_.stride_h * p_.width + p_.out_width;
    return 1 + std::max(kPixelsOfBand - first, std::ptrdiff_t{0}) / next;
  }

  void band(std::ptrdiff_t panel, Range rows, float* scratch) const {
    const std::ptrdiff_t ih = rows.begin * p_.stride_h - p_.pad_top;
    const Range under = inside(ih, 1, p_.height, p_.rows_under(rows.size()));
    const Range image{ih + under.begin, ih + under.end};
    float* const sums = scratch + image_floats();
    read(panel, image, scratch);
    for (std::ptrdiff_t m = 0; m < d_.multiplier; ++m) {
      const float* weights =
          d_.weights + (panel * d_.multiplier + m) * p_.kernel_h * p_.kernel_w * lanes_;
      depthwise_channels(panel_at(scratch, image.begin, sums, rows.begin, weights), {0, lanes_},
                         rows);
      write(panel, m, rows, sums);
    }
  }

  std::ptrdiff_t channels_of(std::ptrdiff_t panel) const {
    return std::min(lanes_, d_.channels - panel * lanes_);
  }

  void read(std::ptrdiff_t panel, Range rows, float* image) const {
    const std::ptrdiff_t pixels = rows.size() * p_.width;
    if (pixels == 0) return;
    d_.vectors->read({p_.image + panel * lanes_ * p_.channel_stride + rows.begin * p_.row_stride,
                      p_.channel_stride, 1, channels_of(panel), pixels, pixels, image, 0});
  }

  // The image rows from `first` on lie at `image`, the output rows from `first_output` at `sums`.
  DepthwiseChannels panel_at(const float* image, std::ptrdiff_t first, float* sums,
                             std::ptrdiff_t first_output, const float* weights) const {
    Patches patches = p_;
    patches.channel_stride = 1;
    patches.column_stride = lanes_;
    patches.row_stride = p_.width * lanes_;
    patches.image = image - first * patches.row_stride;
    float* const c = sums - first_output * p_.out_width * lanes_;
    return {d_.kernel, lanes_, weights, patches, {c, nullptr, 1, lanes_, kUntouched.bias, kNone},
            false,     false};
  }

  void write(std::ptrdiff_t panel, std::ptrdiff_t m, Range rows, const float* sums) const {
    const std::ptrdiff_t filter = panel * lanes_ * d_.multiplier + m;
    const std::ptrdiff_t channels = channels_of(panel);
    Output output = d_.destination.tile(Lanes::pixels, filter, rows.begin * p_.out_width);
    output.row_stride *= d_.multiplier;
    float bias[kMaxLanes];
    for (std::ptrdiff_t c = 0; c < channels; ++c) bias[c] = output.bias[c * d_.multiplier];
    output.bias = bias;
    d_.vectors->write({sums, rows.size() * p_.out_width, channels, true, output});
  }

  const DepthwiseTransposed& d_;
  const Patches& p_;
  std::ptrdiff_t lanes_;
  std::ptrdiff_t rows_;  // of outputs
};

}  // namespace

DepthwiseChannelsForm depthwise_transposed_form(const DepthwiseTransposed& d) {
  return Bands(d).form();
}

std::ptrdiff_t depthwise_transposed_scratch(const DepthwiseTransposed& d) {
  const Bands bands(d);
  return bands.image_floats() + bands.sums_floats();
}

void depthwise_transposed(const DepthwiseTransposed& d, Range panels, Range rows,
                          float* scratch) noexcept {
  Bands(d).compute(panels, rows, scratch);
}

}  // namespace gemmconv
