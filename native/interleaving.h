// SPDX-License-Identifier: MIT
// Outputs whose windows see the same image rows (or columns): of all, every `apart`-th; from one to
// the next the window moves on by `step` taps. Under a dilation these are not neighbours.
#pragma once

#include <cstddef>
#include <numeric>

namespace gemmconv {

struct Interleaving {
  std::ptrdiff_t apart, step;

  Interleaving(std::ptrdiff_t stride, std::ptrdiff_t dilation)
      : apart(dilation / std::gcd(stride, dilation)), step(stride / std::gcd(stride, dilation)) {}
};

}  // namespace gemmconv
