// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <atomic>
#include <iterator>

#include "cpu.h"

namespace gemmconv {

namespace baseline {
extern const GemmKernel gemm_kernel;
extern const DirectKernel direct_kernel;
extern const DirectPixelsKernel direct_pixels_kernel;
extern const StripKernel strip_kernel;
extern const DepthwisePixelsKernel depthwise_pixels_kernel;
extern const DepthwiseChannelsKernel depthwise_channels_kernel;
extern const ChannelVectorsKernel channel_vectors_kernel;
extern const WinogradKernel winograd_kernel;
}  // namespace baseline

#if defined(__x86_64__)
namespace avx2 {
extern const GemmKernel gemm_kernel;
extern const DirectKernel direct_kernel;
extern const DirectPixelsKernel direct_pixels_kernel;
extern const StripKernel strip_kernel;
extern const DepthwisePixelsKernel depthwise_pixels_kernel;
extern const DepthwiseChannelsKernel depthwise_channels_kernel;
extern const ChannelVectorsKernel channel_vectors_kernel;
extern const WinogradKernel winograd_kernel;
}  // namespace avx2
namespace avx512 {
extern const GemmKernel gemm_kernel;
extern const DirectKernel direct_kernel;
extern const DirectPixelsKernel direct_pixels_kernel;
extern const StripKernel strip_kernel;
extern const DepthwisePixelsKernel depthwise_pixels_kernel;
extern const DepthwiseChannelsKernel depthwise_channels_kernel;
extern const ChannelVectorsKernel channel_vectors_kernel;
extern const WinogradKernel winograd_kernel;
}  // namespace avx512
#endif

namespace {

bool always() { return true; }

// Best last.
const Isa kIsas[] = {
    {"baseline", always, &baseline::gemm_kernel, &baseline::direct_kernel,
     &baseline::direct_pixels_kernel, &baseline::strip_kernel, &baseline::depthwise_pixels_kernel,
     &baseline::depthwise_channels_kernel, &baseline::channel_vectors_kernel,
     &baseline::winograd_kernel},
#if defined(__x86_64__)
    {"avx2", cpu_has_avx2_fma, &avx2::gemm_kernel, &avx2::direct_kernel,
     &avx2::direct_pixels_kernel, &avx2::strip_kernel, &avx2::depthwise_pixels_kernel,
     &avx2::depthwise_channels_kernel, &avx2::channel_vectors_kernel, &avx2::winograd_kernel},
    {"avx512", cpu_has_avx512f, &avx512::gemm_kernel, &avx512::direct_kernel,
     &avx512::direct_pixels_kernel, &avx512::strip_kernel, &avx512::depthwise_pixels_kernel,
     &avx512::depthwise_channels_kernel, &avx512::channel_vectors_kernel, &avx512::winograd_kernel},
#endif
};

std::atomic<const Isa*> chosen{nullptr};

}  // namespace

int isa_count() { return static_cast<int>(std::size(kIsas)); }

const Isa& isa_at(int index) { return kIsas[index]; }

const Isa& current_isa() {
  if (const Isa* isa = chosen.load(std::memory_order_acquire)) return *isa;
  int best = isa_count() - 1;
  while (!kIsas[best].runs_here()) --best;  // ends at baseline
  chosen.store(&kIsas[best], std::memory_order_release);
  return kIsas[best];
}

bool use_isa(std::string_view name) {
  for (const Isa& isa : kIsas) {
    if (name != isa.name) continue;
    if (!isa.runs_here()) return false;
    chosen.store(&isa, std::memory_order_release);
    return true;
  }
  return false;
}

}  // namespace gemmconv
