// SPDX-License-Identifier: MIT
#include "pack.h"

namespace gemmconv {
namespace {

// A tap of the patch, stepped through in the order of k.
struct Tap {
  std::ptrdiff_t c, kh, kw;

  Tap(std::ptrdiff_t k, std::ptrdiff_t kernel_h, std::ptrdiff_t kernel_w)
      : c(k / (kernel_h * kernel_w)), kh(k / kernel_w % kernel_h), kw(k % kernel_w) {}

  void next(std::ptrdiff_t kernel_h, std::ptrdiff_t kernel_w) {
    if (++kw < kernel_w) return;
    kw = 0;
    if (++kh < kernel_h) return;
    kh = 0;
    ++c;
  }
};

// Neighbouring pixels of one output row that fall into one panel.
struct Piece {
  std::ptrdiff_t ih, iw;  // where tap (0, 0) of the first pixel lies in the image
  std::ptrdiff_t offset;  // there, in a channel's plane
  std::ptrdiff_t count;
  std::ptrdiff_t panel_width;
  float* dst;  // step 0 of the first pixel
};

void pack_piece(const Patches& p, const Tap& tap, const float* channel, const Piece& piece,
                float* dst) {
  const std::ptrdiff_t ih = piece.ih + tap.kh * p.dilation_h;
  if (ih < 0 || ih >= p.height) {
    zero_run(dst, piece.count);
    return;
  }
  const std::ptrdiff_t iw = piece.iw + tap.kw * p.dilation_w;
  const auto [begin, end] = inside(iw, p.stride_w, p.width, piece.count);
  zero_run(dst, begin);
  if (begin < end) {
    gather_run(dst + begin,
               channel + ih * p.row_stride + (iw + begin * p.stride_w) * p.column_stride,
               p.stride_w * p.column_stride, end - begin);
  }
  zero_run(dst + end, piece.count - end);
}

// Of a filter of one tap, all pieces of which lie inside the image, nothing is to be decided for
// each step (1×1 2048->512@7 on AVX2, six pixels a panel, Zen 4: 1.29 -> 1.235 ms; 1024->2048@14
// with a step of two 2.55 -> 2.45).
bool all_inside(const Patches& p, const Piece* pieces, int count) {
  if (p.kernel_h * p.kernel_w != 1) return false;
  return std::all_of(pieces, pieces + count, [&](const Piece& piece) {
    return piece.ih >= 0 && piece.ih < p.height && piece.iw >= 0 &&
           piece.iw + (piece.count - 1) * p.stride_w < p.width;
  });
}

// Whether all runs are of neighbours, as many as two overlapping quads hold.
bool are_short(const Patches& p, const Piece* pieces, int count) {
  return p.stride_w * p.column_stride == 1 &&
         std::all_of(pieces, pieces + count,
                     [](const Piece& piece) { return piece.count >= 4 && piece.count <= 8; });
}

// As such they are rows of AVX2's panels, mostly: no loop for each (1×1 nchw, Zen 4: 2048->512@7
// 1.239 -> 1.215 ms, 320->1280@7 0.490 -> 0.485).
void pack_short(const Patches& p, const Piece* pieces, int count, std::ptrdiff_t k_begin,
                std::ptrdiff_t kc) {
  constexpr std::size_t kQuad = 4 * sizeof(float);
  const float* channel = p.image + k_begin * p.channel_stride;
  for (std::ptrdiff_t k = 0; k < kc; ++k) {
    for (int i = 0; i < count; ++i) {
      const Piece& piece = pieces[i];
      const float* const src = channel + piece.offset;
      float* const dst = piece.dst + k * piece.panel_width;
      const std::ptrdiff_t last = piece.count - 4;
      std::memcpy(dst, src, kQuad);
      std::memcpy(dst + last, src + last, kQuad);
    }
    channel += p.channel_stride;
  }
}

void pack_inside(const Patches& p, const Piece* pieces, int count, std::ptrdiff_t k_begin,
                 std::ptrdiff_t kc) {
  if (are_short(p, pieces, count)) {
    pack_short(p, pieces, count, k_begin, kc);
    return;
  }
  for (std::ptrdiff_t k = 0; k < kc; ++k) {
    const float* channel = p.image + (k_begin + k) * p.channel_stride;
    for (int i = 0; i < count; ++i) {
      const Piece& piece = pieces[i];
      gather_run(piece.dst + k * piece.panel_width, channel + piece.offset,
                 p.stride_w * p.column_stride, piece.count);
    }
  }
}

// Where channels are neighbours (nhwc), a tap of four pixels and four channels moves as a block:
// each pixel's channels are read along, not one of each pixel after another, which would fight over
// cache sets whenever a pixel's size is a power of two.
void pack_channels(const Patches& p, const Piece& piece, std::ptrdiff_t tap, std::ptrdiff_t k_begin,
                   std::ptrdiff_t kc) {
  const std::ptrdiff_t taps = p.kernel_h * p.kernel_w;
  const std::ptrdiff_t ih = piece.ih + tap / p.kernel_w * p.dilation_h;
  const std::ptrdiff_t iw = piece.iw + tap % p.kernel_w * p.dilation_w;
  const bool row_exists = ih >= 0 && ih < p.height;
  const auto [begin, end] = row_exists ? inside(iw, p.stride_w, p.width, piece.count) : Range{0, 0};
  // Channels whose step c · taps + tap lies in [k_begin, k_begin + kc).
  const std::ptrdiff_t c_begin = (k_begin - tap + taps - 1) / taps;
  const std::ptrdiff_t c_end = (k_begin + kc - tap + taps - 1) / taps;
  const std::ptrdiff_t step = taps * piece.panel_width;
  float* const dst = piece.dst + (c_begin * taps + tap - k_begin) * piece.panel_width;
  const std::ptrdiff_t pixel_stride = p.stride_w * p.column_stride;
  const float* const src = p.image + ih * p.row_stride + iw * p.column_stride + c_begin;

  const std::ptrdiff_t channels = c_end - c_begin;
  for (std::ptrdiff_t c = 0; c < channels; ++c) {
    zero_run(dst + c * step, begin);
    zero_run(dst + c * step + end, piece.count - end);
  }
  transpose_runs(dst + begin, step, src + begin * pixel_stride, pixel_stride, end - begin,
                 channels);
}

// Cuts pixels into pieces, as many as there is room for; returns how many, and moves `pixel` on.
int cut_pieces(const Patches& p, const Panels& panels, std::ptrdiff_t kc,
               std::ptrdiff_t pixel_begin, std::ptrdiff_t& panel_index, std::ptrdiff_t& done,
               float* packed, Piece* pieces, int room) {
  int count = 0;
  for (; panel_index < panels.count(); ++panel_index, done = 0) {
    const Panel panel = panels[panel_index];
    while (done < panel.valid) {
      if (count == room) return count;
      const std::ptrdiff_t pixel = pixel_begin + panel.begin + done;
      const std::ptrdiff_t oh = pixel / p.out_width;
      const std::ptrdiff_t ow = pixel % p.out_width;
      Piece& piece = pieces[count++];
      piece.ih = oh * p.stride_h - p.pad_top;
      piece.iw = ow * p.stride_w - p.pad_left;
      piece.offset = piece.ih * p.row_stride + piece.iw * p.column_stride;
      piece.count = std::min(panel.valid - done, p.out_width - ow);
      piece.panel_width = panel.width;
      piece.dst = packed + panel.begin * kc + done;
      done += piece.count;
    }
  }
  return count;
}

}  // namespace

void pack_filter(const FilterView& filter, const Panels& panels, std::ptrdiff_t kc, float* packed) {
  const std::ptrdiff_t k_total = filter.channels * filter.kernel_h * filter.kernel_w;
  for (std::ptrdiff_t k_begin = 0; k_begin < k_total; k_begin += kc) {
    const std::ptrdiff_t k_end = std::min(k_begin + kc, k_total);
    for (std::ptrdiff_t i = 0; i < panels.count(); ++i) {
      const Panel panel = panels[i];
      Tap tap(k_begin, filter.kernel_h, filter.kernel_w);
      for (std::ptrdiff_t k = k_begin; k < k_end; ++k) {
        const float* src = filter.data + panel.begin * filter.oc_stride + tap.c * filter.c_stride +
                           tap.kh * filter.kh_stride + tap.kw * filter.kw_stride;
        gather_run(packed, src, filter.oc_stride, panel.valid);
        zero_run(packed + panel.valid, panel.width - panel.valid);
        packed += panel.width;
        tap.next(filter.kernel_h, filter.kernel_w);
      }
    }
  }
}

void repeat_steps(std::ptrdiff_t* steps, std::ptrdiff_t count, std::ptrdiff_t channels,
                  std::ptrdiff_t stride) {
  std::ptrdiff_t* to = steps + count;
  for (std::ptrdiff_t c = 1; c < channels; ++c, to += count) {
    for (std::ptrdiff_t i = 0; i < count; ++i) to[i] = steps[i] + c * stride;
  }
}

std::ptrdiff_t* locate_taps(const Patches& p, std::ptrdiff_t channels, std::ptrdiff_t row_stride,
                            std::ptrdiff_t* taps) {
  std::ptrdiff_t* tap = taps;
  for (std::ptrdiff_t kh = 0; kh < p.kernel_h; ++kh) {
    for (std::ptrdiff_t kw = 0; kw < p.kernel_w; ++kw) {
      *tap++ = kh * p.dilation_h * row_stride + kw * p.dilation_w * p.column_stride;
    }
  }
  const std::ptrdiff_t count = p.kernel_h * p.kernel_w;
  repeat_steps(taps, count, channels, p.channel_stride);
  return taps + channels * count;
}

const float* patch_in_place(const Patches& p, std::ptrdiff_t pixel) {
  const std::ptrdiff_t ih = pixel / p.out_width * p.stride_h - p.pad_top;
  const std::ptrdiff_t iw = pixel % p.out_width * p.stride_w - p.pad_left;
  const bool is_inside = ih >= 0 && ih < p.height && iw >= 0 && iw < p.width;
  if (p.channel_stride != 1 || p.kernel_h * p.kernel_w != 1 || !is_inside) return nullptr;
  return p.image + ih * p.row_stride + iw * p.column_stride;
}

void pack_patches(const Patches& p, std::ptrdiff_t k_begin, std::ptrdiff_t kc,
                  std::ptrdiff_t pixel_begin, const Panels& panels, float* packed) {
  // k outside, pieces inside: image rows are read along, not in columns of a panel's width, which
  // would touch a page a step (84 -> 93 % for the n = 1024 GEMM).
  constexpr int kPieces = 64;
  Piece pieces[kPieces];
  std::ptrdiff_t panel_index = 0;
  std::ptrdiff_t done = 0;
  while (const int count =
             cut_pieces(p, panels, kc, pixel_begin, panel_index, done, packed, pieces, kPieces)) {
    if (p.channel_stride == 1 && p.column_stride != 1) {
      for (int i = 0; i < count; ++i) {
        for (std::ptrdiff_t tap = 0; tap < p.kernel_h * p.kernel_w; ++tap) {
          pack_channels(p, pieces[i], tap, k_begin, kc);
        }
      }
      continue;
    }
    if (all_inside(p, pieces, count)) {
      pack_inside(p, pieces, count, k_begin, kc);
      continue;
    }
    Tap tap(k_begin, p.kernel_h, p.kernel_w);
    for (std::ptrdiff_t k = 0; k < kc; ++k, tap.next(p.kernel_h, p.kernel_w)) {
      const float* channel = p.image + tap.c * p.channel_stride;
      for (int i = 0; i < count; ++i) {
        const Piece& piece = pieces[i];
        pack_piece(p, tap, channel, piece, piece.dst + k * piece.panel_width);
      }
    }
  }
  const Panel last = panels[panels.count() - 1];
  if (last.valid == last.width) return;
  for (std::ptrdiff_t k = 0; k < kc; ++k) {
    zero_run(packed + last.begin * kc + k * last.width + last.valid, last.width - last.valid);
  }
}

}  // namespace gemmconv
