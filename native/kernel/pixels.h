// SPDX-License-Identifier: MIT
// Pixels of two to four channels, neighbours as nhwc stores them, to a vector of each channel, and
// back: by shuffles of vectors of any length that is a power of two.
#pragma once

#include "vec.h"

namespace gemmconv::GEMMCONV_ISA {
namespace {

using Lane = UpTo<kLanes>::Type;

// Every other float of a and b, from the first or from the second on.
template <int kFirst, int... I>
[[gnu::always_inline]] inline Vec every_other(Vec a, Vec b, Indices<I...>) {
  return __builtin_shufflevector(a, b, (2 * I + kFirst)...);
}

// Floats of a and b in turn: of their first halves, or of their second.
template <int kHalf, int... I>
[[gnu::always_inline]] inline Vec in_turn(Vec a, Vec b, Indices<I...>) {
  return __builtin_shufflevector(a, b, (kHalf * kLanes / 2 + I / 2 + I % 2 * kLanes)...);
}

// Of three vectors of pixels of three channels, lane l of vector v is of channel (v·lanes + l) % 3.
// As three does not divide the lanes, a channel has each lane once: in vector turn(channel, l).
constexpr int turn(int channel, int lane) {
  int v = 0;
  while ((v * kLanes + lane) % 3 != channel) ++v;
  return v;
}

// Lane l is that of v[turn(channel(l), l)].
template <typename Channel, int... I>
[[gnu::always_inline]] inline Vec by_turns(const Vec (&v)[3], Channel, Indices<I...>) {
  const Vec low = __builtin_shufflevector(v[0], v[1], (Channel::at(I) == 0 ? I : kLanes + I)...);
  return __builtin_shufflevector(low, v[2], (Channel::at(I) == 2 ? kLanes + I : I)...);
}

template <int kChannel>
struct VectorOfChannel {
  static constexpr int at(int lane) { return turn(kChannel, lane); }
};

template <int kVector>
struct ChannelOfVector {
  static constexpr int at(int lane) { return (kVector * kLanes + lane) % 3; }
};

template <int kChannel, int... I>
[[gnu::always_inline]] inline Vec channel_of_three(const Vec (&v)[3], Indices<I...> lanes) {
  const Vec mixed = by_turns(v, VectorOfChannel<kChannel>{}, lanes);
  return __builtin_shufflevector(mixed, mixed, ((3 * I + kChannel) % kLanes)...);
}

// The lanes of a channel, where those of its pixels go.
template <int kChannel, int... I>
[[gnu::always_inline]] inline Vec spread_channel(Vec v, Indices<I...>) {
  return __builtin_shufflevector(v, v, ((turn(kChannel, I) * kLanes + I) / 3)...);
}

// Vectors of pixels to vectors of channels.
[[gnu::always_inline]] inline void split(Vec (&v)[2]) {
  const Vec even = every_other<0>(v[0], v[1], Lane{});
  v[1] = every_other<1>(v[0], v[1], Lane{});
  v[0] = even;
}

[[gnu::always_inline]] inline void split(Vec (&v)[3]) {
  const Vec first = channel_of_three<0>(v, Lane{});
  const Vec second = channel_of_three<1>(v, Lane{});
  v[2] = channel_of_three<2>(v, Lane{});
  v[1] = second;
  v[0] = first;
}

[[gnu::always_inline]] inline void split(Vec (&v)[4]) {
  Vec low[2] = {v[0], v[1]}, high[2] = {v[2], v[3]};
  split(low);
  split(high);
  Vec even[2] = {low[0], high[0]}, odd[2] = {low[1], high[1]};
  split(even);
  split(odd);
  v[0] = even[0];
  v[1] = odd[0];
  v[2] = even[1];
  v[3] = odd[1];
}

// Vectors of channels to vectors of pixels.
[[gnu::always_inline]] inline void merge(Vec (&v)[2]) {
  const Vec low = in_turn<0>(v[0], v[1], Lane{});
  v[1] = in_turn<1>(v[0], v[1], Lane{});
  v[0] = low;
}

[[gnu::always_inline]] inline void merge(Vec (&v)[3]) {
  const Vec spread[3] = {spread_channel<0>(v[0], Lane{}), spread_channel<1>(v[1], Lane{}),
                         spread_channel<2>(v[2], Lane{})};
  v[0] = by_turns(spread, ChannelOfVector<0>{}, Lane{});
  v[1] = by_turns(spread, ChannelOfVector<1>{}, Lane{});
  v[2] = by_turns(spread, ChannelOfVector<2>{}, Lane{});
}

[[gnu::always_inline]] inline void merge(Vec (&v)[4]) {
  Vec even[2] = {v[0], v[2]}, odd[2] = {v[1], v[3]};
  merge(even);
  merge(odd);
  Vec low[2] = {even[0], odd[0]}, high[2] = {even[1], odd[1]};
  merge(low);
  merge(high);
  v[0] = low[0];
  v[1] = low[1];
  v[2] = high[0];
  v[3] = high[1];
}

}  // namespace
}  // namespace gemmconv::GEMMCONV_ISA
