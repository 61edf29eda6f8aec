// SPDX-License-Identifier: MIT
// GFLOP/s of the microkernel alone and of the blocked GEMM, against the FMA peak of the same run.
//
//   gemm_bench                 the table, every ISA this CPU runs
//   gemm_bench --peak          one line of JSON: one core's FMA peak
//   gemm_bench --roofs n       the same with memory: FMA peak, triad bandwidth; 1 thread and n
//
// Either takes the name of an instruction set in the end; the widest there is if not told.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bandwidth.h"
#include "dispatch.h"
#include "gemm/gemm.h"
#include "peak.h"
#include "system/buffer.h"
#include "system/cpu.h"

namespace {

using namespace gemmconv;
using Clock = std::chrono::steady_clock;

struct Rate {
  double gflops;
  double error;  // largest |y - y64| / sum |a·b|
};

// Fastest of many timings over about `seconds`: machines are shared, and the fastest run is the one
// that was disturbed least.
template <typename Run>
double best_seconds(Run run, double seconds) {
  double best = 1e9;
  const auto start = Clock::now();
  do {
    const auto before = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - before).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  return best;
}

void fill(float* data, std::ptrdiff_t count, unsigned seed) {
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f;
  }
}

// One full tile on operands that stay in L1.
double kernel_gflops(const GemmKernel& kernel) {
  constexpr std::ptrdiff_t k = 128;
  const std::ptrdiff_t nr = kernel.lanes * kernel.vectors;
  Buffer a(static_cast<std::size_t>(k * kernel.mr + 2048) * sizeof(float));
  Buffer b(static_cast<std::size_t>(k * nr) * sizeof(float));
  Buffer c(static_cast<std::size_t>(kernel.mr * nr) * sizeof(float));
  fill(a.floats(), k * kernel.mr, 1);
  fill(b.floats(), k * nr, 2);
  const GemmTile tile{
      k,       a.floats(), b.floats(), c.floats(), true,   false, static_cast<int>(nr),
      nullptr, a.floats(), k,          0,          nullptr};
  constexpr int calls = 200;
  const double seconds = best_seconds(
      [&] {
        for (int i = 0; i < calls; ++i) kernel.tile[kernel.mr - 1][kernel.vectors - 1](tile);
      },
      0.3);
  return 2e-9 * static_cast<double>(calls * k * kernel.mr * nr) / seconds;
}

// C = A·B, n × n: A packed once, B packed inside the clock.
Rate gemm_rate(const GemmKernel& kernel, std::ptrdiff_t n, double budget) {
  const std::size_t bytes = static_cast<std::size_t>(n * n) * sizeof(float);
  Buffer a(bytes), b(bytes), c(bytes), a_packed(bytes);
  std::vector<float> bias(static_cast<std::size_t>(n), 0.0f);
  fill(a.floats(), n * n, 3);
  fill(b.floats(), n * n, 4);
  Gemm g{};
  g.kernel = &kernel;
  g.lanes = Lanes::pixels;
  g.pointwise = true;
  g.m = n;
  g.k = n;
  g.blocks = block_sizes(kernel, Lanes::pixels, n, n);
  // A row-major K × N matrix is a one-row image of K channels under a 1×1 filter.
  g.patches = {b.floats(), n, n, 1, 1, n, n, 1, 1, 1, 1, 1, 1, 0, 0};
  const Epilogue none{Activation::none, -INFINITY, INFINITY};
  g.destination = {c.floats(), nullptr, n, 1, bias.data(), none};
  pack_filter({a.floats(), n, 1, 1, 1, n, 1, 1}, g.filter_panels(), g.blocks.kc, a_packed.floats());
  g.filter_packed = a_packed.floats();
  Buffer scratch(static_cast<std::size_t>(gemm_scratch(g, n, n)) * sizeof(float));
  const Range all{0, g.filter_panels().count()};
  const double seconds = best_seconds([&] { gemm(g, all, {0, n}, scratch.floats()); }, budget);

  double error = 0;
  for (std::ptrdiff_t sample = 0; sample < 64; ++sample) {
    const std::ptrdiff_t i = sample * 7919 % n;
    const std::ptrdiff_t j = sample * 104729 % n;
    double sum = 0, magnitude = 0;
    for (std::ptrdiff_t k = 0; k < n; ++k) {
      const double product = static_cast<double>(a.floats()[i * n + k]) * b.floats()[k * n + j];
      sum += product;
      magnitude += std::fabs(product);
    }
    error = std::max(error, std::fabs(c.floats()[i * n + j] - sum) / magnitude);
  }
  return {2e-9 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds,
          error};
}

int print_peak(const char* isa) {
  const double gflops = bench::measure_peak(bench::chains_of(isa), 0.3);
  std::printf("{\"isa\":\"%s\",\"gflops\":%.2f}\n", isa, gflops);
  return 0;
}

// Working sets, all threads together, that lie in one level and not in the one before.
struct Level {
  const char* name;
  double bytes;
};

std::vector<Level> levels_for(int threads) {
  const CacheSizes& caches = cache_sizes();
  const double l2 = static_cast<double>(caches.l2) * threads;
  const double l3 = static_cast<double>(caches.l3);
  std::vector<Level> levels{{"l1", static_cast<double>(caches.l1) / 2 * threads}, {"l2", l2 / 2}};
  if (l3 > 4 * l2) levels.push_back({"l3", std::min(l3 / 2, 4 * l2)});
  levels.push_back({"memory", std::max(4 * l3, 16 * l2)});
  return levels;
}

int print_roofs(const char* isa, int most) {
  std::printf("{\"isa\":\"%s\",\"roofs\":[", isa);
  std::vector<int> counts{1};
  if (most > 1) counts.push_back(most);
  for (const int threads : counts) {
    const double gflops = bench::measure_peak(bench::chains_of(isa), 0.2, threads);
    std::printf("%s{\"threads\":%d,\"gflops\":%.2f,\"gbytes\":{", threads > 1 ? "," : "", threads,
                gflops);
    const char* comma = "";
    for (const Level& level : levels_for(threads)) {
      const auto bytes = static_cast<std::size_t>(level.bytes / threads);
      const double gbytes = bench::measure_bandwidth(bench::triad_of(isa), bytes, threads, 0.3);
      std::printf("%s\"%s\":%.2f", comma, level.name, gbytes);
      comma = ",";
    }
    std::printf("}}");
  }
  std::printf("]}\n");
  return 0;
}

void print_table() {
  std::printf(
      "one thread; %% of the FMA peak measured beside each row; error relative to sum|a*b|\n");
  std::printf("%-9s %-16s %8s %8s %7s %9s\n", "isa", "what", "GFLOP/s", "peak", "%", "error");
  for (int i = 0; i < isa_count(); ++i) {
    const Isa& isa = isa_at(i);
    if (!isa.runs_here()) continue;
    const auto peak = [&] { return bench::measure_peak(bench::chains_of(isa.name), 0.2); };
    double roof = peak();
    const double kernel = kernel_gflops(*isa.kernels.gemm);
    roof = std::max(roof, peak());
    std::printf("%-9s %-16s %8.1f %8.1f %6.1f%%\n", isa.name, "kernel in L1", kernel, roof,
                100 * kernel / roof);
    for (const std::ptrdiff_t n : {128, 256, 512, 1024, 2048}) {
      const Rate rate = gemm_rate(*isa.kernels.gemm, n, n < 1024 ? 0.3 : 3.0);
      roof = std::max(roof, peak());
      std::printf("%-9s gemm n = %-7td %8.1f %8.1f %6.1f%% %9.1e\n", isa.name, n, rate.gflops, roof,
                  100 * rate.gflops / roof, rate.error);
    }
  }
}

// The widest this CPU runs unless one is named; null for one that it does not run.
const char* isa_named(const char* name) {
  if (name == nullptr) return current_isa().name;
  for (int i = 0; i < isa_count(); ++i) {
    if (isa_at(i).runs_here() && std::strcmp(isa_at(i).name, name) == 0) return isa_at(i).name;
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    print_table();
    return 0;
  }
  const bool is_peak = std::strcmp(argv[1], "--peak") == 0;
  const bool is_roofs = std::strcmp(argv[1], "--roofs") == 0 && argc > 2;
  const int threads = is_roofs ? std::atoi(argv[2]) : 1;
  const int last = is_roofs ? 3 : 2;
  const char* isa = isa_named(argc > last ? argv[last] : nullptr);
  if (isa != nullptr && threads >= 1 && threads <= 1024 && argc <= last + 1) {
    if (is_peak) return print_peak(isa);
    if (is_roofs) return print_roofs(isa, threads);
  }
  std::fprintf(stderr, "usage: gemm_bench [--peak [isa] | --roofs threads [isa]]\n");
  return 2;
}
