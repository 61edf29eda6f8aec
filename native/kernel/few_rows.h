// SPDX-License-Identifier: MIT
// What kernel.h says of the GEMM's other tiles, of those of few rows.
#pragma once

#include "kernel.h"

namespace gemmconv {

// One register tile of the GEMM of few rows, by several lane panels side by side.
struct FewRowsTile {
  std::ptrdiff_t k;
  const float* a;
  const float* b;
  std::ptrdiff_t panel_stride;  // floats between packed panels
  float* sums;                  // rows × vectors · lanes: from where they are, on
};

inline constexpr int kMaxFewRows = 3;
inline constexpr int kMaxFewSums = 12;  // vectors of them

// tile[rows - 1][vectors - 1]: all panels but the last have as many vectors as the GEMM kernel.
struct FewRowsKernel {
  int rows;                 // most
  int panels[kMaxFewRows];  // most side by side, by rows - 1
  void (*tile[kMaxFewRows][kMaxFewSums])(const FewRowsTile&);
  // Sums without bias, rows × columns, of which the first `valid` exist; destroyed.
  void (*finish)(float* sums, int rows, int columns, int valid, const Output& output);
};

}  // namespace gemmconv
