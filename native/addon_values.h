// SPDX-License-Identifier: MIT
// JS values as the core's plain data, for addon.cc and addon_async.cc.
#pragma once

#include <napi.h>

#include <cstdint>
#include <cstring>

#include "buffer.h"
#include "conv2d.h"
#include "filter.h"

namespace gemmconv::addon {

// A typed array's memory, as of now: a view whose buffer was detached or shrunk has length 0.
struct Floats {
  float* data = nullptr;
  std::size_t length = 0;

  bool holds(std::ptrdiff_t count) const { return length >= static_cast<std::size_t>(count); }
};

// Null and undefined give no memory.
inline Floats floats_of(const Napi::Value& value) {
  Floats floats;
  if (value.IsNull() || value.IsUndefined()) return floats;
  napi_typedarray_type type;
  void* data = nullptr;
  napi_get_typedarray_info(value.Env(), value, &type, &floats.length, &data, nullptr, nullptr);
  floats.data = static_cast<float*>(data);
  return floats;
}

// An ArrayBuffer that lib/ keeps to itself, so its bytes are what the addon wrote.
inline std::byte* bytes_of(const Napi::Value& value) {
  void* data = nullptr;
  std::size_t length = 0;
  napi_get_arraybuffer_info(value.Env(), value, &data, &length);
  return static_cast<std::byte*>(data);
}

inline Conv2dPlan plan_of(const Napi::Value& value) {
  Conv2dPlan plan;
  std::memcpy(&plan, bytes_of(value), sizeof plan);
  return plan;
}

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

inline void throw_out_of_memory(Napi::Env env) {
  Napi::RangeError error = Napi::RangeError::New(env, "Not enough memory for this convolution");
  error.Set("code", "ERR_MEMORY_ALLOCATION_FAILED");
  error.ThrowAsJavaScriptException();
}

Napi::Value run_async(const Napi::CallbackInfo& info);
Napi::Value cancel(const Napi::CallbackInfo& info);
// Prepares this environment (the main thread's, or a worker's) for asynchronous calls.
void start_async(Napi::Env env);

}  // namespace gemmconv::addon
