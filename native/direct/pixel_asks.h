// SPDX-License-Identifier: MIT
// What tiles of direct_pixels.cc ask memory for, ahead of its use: outputs, and pixels of windows.
#pragma once

#include <cstddef>

#include "direct/direct_pixels.h"

namespace gemmconv {

// From so many steps on a tile asks for its own outputs, shorter ones for the next tile's.
inline constexpr std::ptrdiff_t kManySteps = 48;

// Whether image and outputs are far more than L2, so that tiles of windows ask at all.
bool comes_from_afar(const DirectPixels& direct);

// Has tiles of windows ask for outputs, if they have the time.
void ask_for_outputs(const DirectPixels& direct, DirectPixelsTile& tile);

// Lays out what tiles of windows ask for of the next one's pixels, for each step of k; and has them
// ask for it.
void locate_asks(const DirectPixels& direct, std::ptrdiff_t* asks);
void ask_for_pixels(const DirectPixels& direct, const std::ptrdiff_t* asks, DirectPixelsTile& tile);

}  // namespace gemmconv
