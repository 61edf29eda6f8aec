// SPDX-License-Identifier: MIT
// How asynchronous calls start. A JS buffer may be transferred, resized or freed while a worker
// reads it, so a call copies its input before it returns, and writes to an array that nobody else
// has seen, or to memory of its own. Unless the caller gives memory away: then a call is admitted
// first, lib/transfer.ts takes the memory from him, and the call begins in place. One that stands
// in line for its output (lib/lines.ts) is admitted first, too, and begins when it has it.
#include <memory>
#include <new>

#include "addon/addon_call.h"
#include "system/copy.h"
#include "threads/threads.h"

namespace gemmconv::addon {
namespace {

struct PackCall final : Call, Job {
  const Conv2dPlan* plan;
  const float* filter;
  const float* bias;
  float* packed;

  PackCall(Async* a, std::int32_t t) : Call(a, t) {
    tasks = 1;
    has_dependants = true;
    run_task = [](Job& job, std::ptrdiff_t, float*) noexcept {
      const PackCall& call = static_cast<PackCall&>(job);
      pack(*call.plan, call.filter, call.bias, call.packed);
    };
    finish = finish_call<PackCall>;
  }
  Job& job() override { return *this; }
};

struct EmptyCall final : Call, Job {
  EmptyCall(Async* a, std::int32_t t) : Call(a, t) {
    tasks = 1;
    run_task = [](Job&, std::ptrdiff_t, float*) noexcept {};
    finish = finish_call<EmptyCall>;
  }
  Job& job() override { return *this; }
};

// A call's tensors, as of now, and which of them it works on in place.
struct Given {
  Floats input, add, output;
  bool input_in_place = false, add_in_place = false, output_in_place = false;
};

std::size_t bytes_for(std::ptrdiff_t floats) {
  return align_up(static_cast<std::size_t>(floats) * sizeof(float));
}

// Hands out the parts of a call's own memory, one after the other.
class Parts {
 public:
  explicit Parts(std::byte* memory) : next_(memory) {}

  float* take(std::ptrdiff_t floats) {
    float* const part = reinterpret_cast<float*>(next_);
    next_ += bytes_for(floats);
    return part;
  }
  float* copy(const Floats& from, std::ptrdiff_t floats) {
    float* const part = take(floats);
    copy_for_other_core(reinterpret_cast<std::byte*>(part),
                        reinterpret_cast<const std::byte*>(from.data),
                        static_cast<std::size_t>(floats) * sizeof(float));
    return part;
  }

 private:
  std::byte* next_;
};

// Copies what the caller may change, and puts the call into `async`. Null when the queue is full.
// Throws std::bad_alloc, with nothing done.
ComputeCall* make_call(Async& async, std::int32_t ticket, const Conv2dPlan& plan,
                       const Given& given) {
  const Extents extents(plan.problem);
  const std::size_t input_bytes = bytes_for(extents.input);
  const std::size_t add_bytes = given.add.is_given ? bytes_for(extents.output) : 0;
  const std::size_t output_bytes = bytes_for(extents.output);
  const bool is_aside = !given.output.is_given && !given.output_in_place;
  const std::size_t own_bytes = (given.input_in_place ? 0 : input_bytes) +
                                (given.add_in_place ? 0 : add_bytes) +
                                (is_aside ? output_bytes : 0);
  auto call = std::make_unique<ComputeCall>(&async, ticket, plan);
  const auto held =
      static_cast<std::int64_t>(input_bytes + add_bytes + output_bytes + sizeof(ComputeCall));
  if (!CallQueue::process().enter(held)) return nullptr;
  try {
    call->memory = BufferCache::process().take(own_bytes);
    async.add(call.get());
  } catch (const std::bad_alloc&) {
    CallQueue::process().leave(held, CallQueue::End::failed);
    throw;
  }
  call->held_bytes = held;
  Parts parts(call->memory.data());
  if (!given.input_in_place) call->tensors.input = parts.copy(given.input, extents.input);
  if (given.add.is_given && !given.add_in_place) {
    call->tensors.add = parts.copy(given.add, extents.output);
  }
  if (is_aside) {
    call->tensors.output = call->aside = parts.take(extents.output);
  }
  return call.release();
}

// `packing`: ticket of the packing that it waits for, or -1. That one may be over, and lib/ not
// have been told yet: then its call is gone. True when the workers had nothing of this
// environment's.
bool begin_call(ComputeCall& call, const Napi::Value& packed, const Floats& output,
                std::int32_t packing) {
  if (output.is_given) {
    call.tensors.output = output.data;
    prefer_huge_pages(output.data, output.length * sizeof(float));
  }
  call.tensors.packed = packed_of(packed);
  Call* const before = packing < 0 ? nullptr : call.async->call_of(packing);
  return call.start(before == nullptr ? nullptr : &before->job());
}

Napi::Value run_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const StoredPlan& stored = stored_plan_of(info[0]);
  const Given given{floats_of(info[2]), floats_of(info[3]), floats_of(info[4])};
  const Outcome outcome = check_call(stored, given.input, given.add);
  if (outcome != Outcome::done) return value_of(env, outcome);
  try {
    ComputeCall* const call = make_call(Async::of(env), ticket_of(info[5]), stored.plan, given);
    if (call == nullptr) return value_of(env, Outcome::queue_full);
    begin_call(*call, info[1], given.output, -1);
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
  return value_of(env, Outcome::done);
}

// As `given` of `admit` in binding.d.ts.
constexpr int kInput = 1, kAdd = 2, kOutput = 4;

Outcome check_admission(const StoredPlan& stored, const Given& given) {
  const Outcome outcome = check_call(stored, given.input, given.add);
  if (outcome != Outcome::done || !given.output_in_place || !given.output.is_given) return outcome;
  if (!given.output.holds(Extents(stored.plan.problem).output)) return Outcome::out_changed;
  if (given.input_in_place && given.output.overlaps(given.input)) {
    return Outcome::out_overlaps_input;
  }
  if (given.add_in_place && given.output.overlaps(given.add)) return Outcome::out_overlaps_add;
  return Outcome::done;
}

Napi::Value admit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const StoredPlan& stored = stored_plan_of(info[0]);
  const int bits = info[4].As<Napi::Number>().Int32Value();
  const Given given{floats_of(info[1]),   floats_of(info[2]), floats_of(info[3]),
                    (bits & kInput) != 0, (bits & kAdd) != 0, (bits & kOutput) != 0};
  const Outcome outcome = check_admission(stored, given);
  if (outcome != Outcome::done) return value_of(env, outcome);
  try {
    const ComputeCall* const call =
        make_call(Async::of(env), ticket_of(info[5]), stored.plan, given);
    return value_of(env, call == nullptr ? Outcome::queue_full : Outcome::done);
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
}

Napi::Value begin(const Napi::CallbackInfo& info) {
  auto& call = *static_cast<ComputeCall*>(Async::of(info.Env()).call_of(ticket_of(info[0])));
  const Floats input = floats_of(info[2]), add = floats_of(info[3]);
  if (input.is_given) call.tensors.input = input.data;
  if (add.is_given) call.tensors.add = add.data;
  return Napi::Boolean::New(info.Env(),
                            begin_call(call, info[1], floats_of(info[4]), ticket_of(info[5])));
}

Napi::Value pack_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Async& async = Async::of(env);
  try {
    auto call = std::make_unique<PackCall>(&async, ticket_of(info[4]));
    call->plan = &plan_of(info[0]);
    call->filter = floats_of(info[1]).data;
    call->bias = floats_of(info[2]).data;
    call->packed = packed_of(info[3]);
    prefer_huge_pages(call->packed, packed_bytes(*call->plan));  // as pack_filter
    call->estimated_ns = pack_ns(*call->plan);
    async.add(call.get());
    call.release()->start(nullptr);
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
  return value_of(env, Outcome::done);
}

Napi::Value do_nothing(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Async& async = Async::of(env);
  try {
    auto call = std::make_unique<EmptyCall>(&async, ticket_of(info[0]));
    async.add(call.get());
    call.release()->start(nullptr);
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
  return value_of(env, Outcome::done);
}

}  // namespace

void export_starts(Napi::Env env, Napi::Object exports) {
  exports["runAsync"] = Napi::Function::New<run_async>(env);
  exports["admit"] = Napi::Function::New<admit>(env);
  exports["begin"] = Napi::Function::New<begin>(env);
  exports["doNothing"] = Napi::Function::New<do_nothing>(env);
  exports["packAsync"] = Napi::Function::New<pack_async>(env);
}

}  // namespace gemmconv::addon
