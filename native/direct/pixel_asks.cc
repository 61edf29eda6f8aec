// SPDX-License-Identifier: MIT
#include "direct/pixel_asks.h"

#include <algorithm>

#include "lines.h"
#include "system/cpu.h"

namespace gemmconv {
namespace {

// Tiles of windows ask for outputs where steps have so many multiply-adds: to those of the usual
// ISA with 16 registers, 12, asking costs 2 to 3 %, others gain (Zen 4, 3×3: 32->64@320 with a step
// of two 3 %; 3->64@224 1 to 7 %, the more the busier the machine's memory is).
constexpr std::ptrdiff_t kStepThatHidesAsks = 16;

// Of the largest tile.
std::ptrdiff_t tile_lanes(const DirectPixels& d) { return d.most_vectors() * d.kernel->lanes; }

// Once in so many steps, so that there is an ask for each line of a tile.
std::ptrdiff_t steps_an_ask(const DirectPixels& d) {
  const std::ptrdiff_t taps = d.patches.kernel_h * d.patches.kernel_w;
  return std::max<std::ptrdiff_t>(taps / lines_of(tile_lanes(d)), 1);
}

}  // namespace

// Tiles of windows ask for the next one's pixels where they do not come from L2 (Zen 4, 3×3
// 32->32@256: 11.9 -> 11.0 ms, on AVX2 17.1 -> 13.3); at 2 MB it costs up to 8 %, where L3 is not
// far (3×3 nchw, Sapphire Rapids: 192->20@96 16.0 -> 10.6 ms, two of 640->12@56 34.6 -> 25.7).
bool comes_from_afar(const DirectPixels& d) {
  const std::ptrdiff_t plane = d.patches.height * d.patches.width;
  const auto near = static_cast<std::ptrdiff_t>(near_bytes() / sizeof(float));
  return (d.channels + d.filters) * plane > near;
}

// One row soon after the other: what is asked for late has not come when it is written.
void ask_for_outputs(const DirectPixels& d, DirectPixelsTile& tile) {
  const std::ptrdiff_t rows = d.filter_panels()[0].width;
  if (rows * d.most_vectors() < kStepThatHidesAsks) return;
  tile.ask_first = 0;
  tile.ask_every = std::clamp<std::ptrdiff_t>(d.k() / rows, 1, 2);
  tile.asks_for_outputs = true;
  tile.outputs_ahead = d.k() < kManySteps ? tile_lanes(d) : 0;
}

// Of the lowest row that is under a tile, the only one that is new, one line after the other.
void locate_asks(const DirectPixels& d, std::ptrdiff_t* asks) {
  const Patches& p = d.patches;
  const std::ptrdiff_t every = steps_an_ask(d);
  for (std::ptrdiff_t c = 0; c < d.channels; ++c) {
    const std::ptrdiff_t lowest =
        c * p.channel_stride + (p.kernel_h - 1) * p.dilation_h * p.row_stride;
    for (std::ptrdiff_t i = 0; i < p.kernel_h * p.kernel_w; ++i) {
      *asks++ = lowest + i / every * kLineFloats;
    }
  }
}

void ask_for_pixels(const DirectPixels& d, const std::ptrdiff_t* asks, DirectPixelsTile& tile) {
  tile.asks = asks;
  tile.ahead = tile_lanes(d);
  tile.ask_first = 0;
  tile.ask_every = steps_an_ask(d);
}

}  // namespace gemmconv
