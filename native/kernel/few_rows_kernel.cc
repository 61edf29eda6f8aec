// SPDX-License-Identifier: MIT
// GEMM tiles of so few rows that the sums of one lane panel are too few to keep the multiply-add
// units busy: several panels are computed side by side, each read once, in order.
#include "few_rows.h"
#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {

extern const ChannelVectorsKernel channel_vectors_kernel;

namespace {

constexpr int kVectors = GEMMCONV_VECTORS;

// As many panels as there are registers for the sums of, up to AVX2's: six at a time, each a stream
// of its own to the prefetchers, come 7 % faster from memory than four, and 40 % faster than one
// such stream; from L2 and L3 equally fast (Zen 4: 29 GB/s from memory, 82 and 67 from these;
// asking for weights ahead makes it slower).
constexpr int panels_of(int rows) {
  const int registers = GEMMCONV_REGISTERS - 1 - rows;
  return (registers < kMaxFewSums ? registers : kMaxFewSums) / (rows * kVectors);
}

// The sums of more rows keep the units busy (cost.h), or there is no room for two panels' (SSE2).
constexpr int kChains = 8;
constexpr int kBusyRows = (kChains + kVectors - 1) / kVectors;
constexpr int kMostRows = panels_of(kBusyRows - 1) > 1 ? kBusyRows - 1 : kBusyRows - 2;
static_assert(kMostRows > 0 && kMostRows <= kMaxFewRows && panels_of(kMostRows) > 1);

// R rows by N vectors, kVectors of each panel but the last.
template <int R, int N>
void tile(const FewRowsTile& t) {
  constexpr int kPanels = (N + kVectors - 1) / kVectors;
  constexpr int kLast = N - (kPanels - 1) * kVectors;
  float* const sums = t.sums;
  Vec acc[R][N];
  GEMMCONV_UNROLL
  for (int i = 0; i < R * N; ++i) acc[i / N][i % N] = load(sums + i * kLanes);
  const float* a = t.a;
  const float* b[kPanels];
  GEMMCONV_UNROLL
  for (int p = 0; p < kPanels; ++p) b[p] = t.b + p * t.panel_stride;
  for (std::ptrdiff_t k = t.k; k > 0; --k) {
    Vec x[R];
    GEMMCONV_UNROLL
    for (int r = 0; r < R; ++r) x[r] = broadcast(a[r]);
    a += R;
    GEMMCONV_UNROLL
    for (int n = 0; n < N; ++n) {
      const Vec w = load(b[n / kVectors] + n % kVectors * kLanes);
      GEMMCONV_UNROLL
      for (int r = 0; r < R; ++r) acc[r][n] += x[r] * w;
    }
    GEMMCONV_UNROLL
    for (int p = 0; p < kPanels; ++p) b[p] += (p + 1 < kPanels ? kVectors : kLast) * kLanes;
  }
  GEMMCONV_UNROLL
  for (int i = 0; i < R * N; ++i) store(sums + i * kLanes, acc[i / N][i % N]);
}

void finish(float* sums, int rows, int columns, int valid, const Output& output) {
  for (int r = 0; r < rows; ++r) {
    float* row = sums + r * columns;
    for (int l = 0; l < columns; l += kLanes) store(row + l, load(row + l) + load(output.bias + l));
  }
  channel_vectors_kernel.finish(sums, rows, columns, valid, output);
}

template <int R, int N>
constexpr void fill(FewRowsKernel& kernel) {
  kernel.tile[R - 1][N - 1] = tile<R, N>;
  if constexpr (N > 1) {
    fill<R, N - 1>(kernel);
  } else if constexpr (R > 1) {
    fill<R - 1, panels_of(R - 1) * kVectors>(kernel);
  }
}

constexpr FewRowsKernel make() {
  FewRowsKernel kernel{kMostRows, {}, {}, finish};
  for (int r = 1; r <= kMostRows; ++r) kernel.panels[r - 1] = panels_of(r);
  fill<kMostRows, panels_of(kMostRows) * kVectors>(kernel);
  return kernel;
}

}  // namespace

extern const FewRowsKernel few_rows_kernel;
constinit const FewRowsKernel few_rows_kernel = make();

}  // namespace gemmconv::GEMMCONV_ISA
