// SPDX-License-Identifier: MIT
// What becomes of a finished sum, and where it goes.
#pragma once

#include <cstddef>

namespace gemmconv {

enum class Activation : int {
  none,
  relu,
  relu6,
  clamp,
  leaky_relu,
  hard_swish,
  sigmoid,
  tanh,
  silu,
};

// none, relu and relu6 are clamps to (-inf, inf), (0, inf) and (0, 6).
struct Epilogue {
  Activation activation;
  float min;  // lower bound of a clamp; alpha of leaky_relu
  float max;
};

// Where a finished tile goes: y = activation(acc + bias + add), element (row r, lane l) of the
// tile at c[r * row_stride + l * lane_stride].
struct Output {
  float* c;
  const float* add;  // same strides as c; null for none
  std::ptrdiff_t row_stride, lane_stride;
  const float* bias;  // one value a row, or one a lane
  bool bias_on_lanes;
  Epilogue epilogue;
};

}  // namespace gemmconv
