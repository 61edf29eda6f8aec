// SPDX-License-Identifier: MIT
// JS values as the core's plain data, for addon.cc and its siblings.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>

#include "conv2d.h"
#include "filter.h"
#include "system/buffer.h"

namespace gemmconv::addon {

// A typed array's memory, as of now: a view whose buffer was detached or shrunk has length 0.
struct Floats {
  float* data = nullptr;
  std::size_t length = 0;
  bool is_given = false;

  bool holds(std::ptrdiff_t count) const { return length >= static_cast<std::size_t>(count); }
  // By address: two SharedArrayBuffer objects may be one memory.
  bool overlaps(const Floats& other) const {
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    const auto other_begin = reinterpret_cast<std::uintptr_t>(other.data);
    return begin < other_begin + other.length * sizeof(float) &&
           other_begin < begin + length * sizeof(float);
  }
};

// Null and undefined give no memory.
inline Floats floats_of(const Napi::Value& value) {
  Floats floats;
  if (value.IsNull() || value.IsUndefined()) return floats;
  napi_typedarray_type type;
  void* data = nullptr;
  napi_get_typedarray_info(value.Env(), value, &type, &floats.length, &data, nullptr, nullptr);
  floats.data = static_cast<float*>(data);
  floats.is_given = true;
  return floats;
}

// An ArrayBuffer that lib/ keeps to itself, so its bytes are what the addon wrote.
inline std::byte* bytes_of(const Napi::Value& value) {
  void* data = nullptr;
  std::size_t length = 0;
  napi_get_arraybuffer_info(value.Env(), value, &data, &length);
  return static_cast<std::byte*>(data);
}

// What a plan's ArrayBuffer holds.
struct StoredPlan {
  Conv2dPlan plan;
  int generation;  // of the settings it was made under
};

// Counts changes of the settings, by whichever environment: a plan of an earlier one is stale.
inline std::atomic<int> settings_generation{0};

inline const StoredPlan& stored_plan_of(const Napi::Value& value) {
  return *reinterpret_cast<const StoredPlan*>(bytes_of(value));
}

inline const Conv2dPlan& plan_of(const Napi::Value& value) { return stored_plan_of(value).plan; }

// A packed filter starts at the first cache line of its buffer, which has a line to spare.
inline float* packed_of(const Napi::Value& value) {
  const auto address = reinterpret_cast<std::uintptr_t>(bytes_of(value));
  return reinterpret_cast<float*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

struct Extents {
  std::ptrdiff_t input, output;

  explicit Extents(const Conv2dProblem& p)
      : input(p.batch * p.channels * p.height * p.width),
        output(p.batch * p.out_channels * p.pixels()) {}
};

// How a call went; as `OUTCOMES` in lib/outcomes.ts numbers them.
enum class Outcome {
  done,
  input_changed,  // too short by now: its buffer was detached or shrunk
  add_changed,
  out_changed,
  out_overlaps_input,
  out_overlaps_add,
  stale_plan,
  queue_full,
  cancelled,
  out_of_memory,
};

inline Napi::Value value_of(Napi::Env env, Outcome outcome) {
  return Napi::Number::New(env, static_cast<int>(outcome));
}

// What keeps a call on a plan from being made.
inline Outcome check_call(const StoredPlan& stored, const Floats& input, const Floats& add) {
  const Extents extents(stored.plan.problem);
  if (stored.generation != settings_generation.load(std::memory_order_relaxed)) {
    return Outcome::stale_plan;
  }
  if (!input.holds(extents.input)) return Outcome::input_changed;
  if (add.is_given && !add.holds(extents.output)) return Outcome::add_changed;
  return Outcome::done;
}

// In addon_async.cc.
// Prepares this environment (the main thread's, or a worker's) for asynchronous calls.
void start_async(Napi::Env env, Napi::Object exports);

}  // namespace gemmconv::addon
