// SPDX-License-Identifier: MIT
// The kernels of the ISA this file is compiled for.
#include "kernel.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

static_assert(GEMMCONV_LANES <= kMaxLanes);

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool kFuses = true;
#else
constexpr bool kFuses = false;
#endif

}  // namespace

extern const GemmKernel gemm_kernel;
extern const DirectKernel direct_kernel;
extern const DirectRowsKernel direct_rows_kernel;
extern const DirectPixelsKernel direct_pixels_kernel;
extern const DirectGroupsKernel direct_groups_kernel;
extern const StripKernel strip_kernel;
extern const DepthwisePixelsKernel depthwise_pixels_kernel;
extern const DepthwisePlanesKernel depthwise_planes_kernel;
extern const DepthwiseChannelsKernel depthwise_channels_kernel;
extern const ChannelVectorsKernel channel_vectors_kernel;
extern const WinogradKernel winograd_kernel;

extern const Kernels kernels;
constinit const Kernels kernels = {kFuses,
                                   &gemm_kernel,
                                   &direct_kernel,
                                   &direct_rows_kernel,
                                   &direct_pixels_kernel,
                                   &direct_groups_kernel,
                                   &strip_kernel,
                                   &depthwise_pixels_kernel,
                                   &depthwise_planes_kernel,
                                   &depthwise_channels_kernel,
                                   &channel_vectors_kernel,
                                   &winograd_kernel};

}  // namespace gemmconv::GEMMCONV_ISA
