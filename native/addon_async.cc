// SPDX-License-Identifier: MIT
// Asynchronous calls. A JS buffer may be transferred, resized or freed while a worker reads it, so
// a call copies its input before it returns, and writes to an ArrayBuffer that nobody else has
// seen. Only plain data crosses to the workers; a thread-safe function brings the result back.
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>

#include "addon_values.h"
#include "threads.h"

namespace gemmconv::addon {
namespace {

struct Call;

// What one environment (main thread or worker) has under way.
struct Async {
  napi_threadsafe_function done = nullptr;
  std::unordered_map<double, Call*> calls;  // by ticket; the environment's own thread only

  std::mutex mutex;
  std::condition_variable idle;
  std::ptrdiff_t in_pool = 0;  // calls that a worker may still touch; under mutex
};

struct Call : Job {
  Async* async;
  double ticket;
  Conv2dPlan plan;
  Conv2dTensors tensors;
  Buffer memory;  // snapshots, then workspace
  float* workspace;
  std::atomic<bool> cancelled{false};
  bool finished = false;
  napi_deferred deferred = nullptr;
  napi_ref packed = nullptr;
  napi_ref output = nullptr;
};

// On a worker. After in_pool has gone down the environment, and the call with it, may be gone.
void run_call(Job& job) noexcept {
  Call& call = static_cast<Call&>(job);
  Async& async = *call.async;
  if (!call.cancelled.load(std::memory_order_relaxed)) {
    call.finished = run(call.plan, call.tensors, call.workspace, &call.cancelled);
  }
  // A failure means that the environment is closing: close_async frees the call.
  napi_call_threadsafe_function(async.done, &call, napi_tsfn_nonblocking);
  const std::lock_guard lock(async.mutex);
  if (--async.in_pool == 0) async.idle.notify_all();
}

// Back on the environment's thread. `env` is null when it closes: close_async has been there.
void settle(napi_env env, napi_value, void*, void* data) {
  if (env == nullptr) return;
  Call* call = static_cast<Call*>(data);
  Async& async = *call->async;
  napi_value value;
  if (napi_get_boolean(env, call->finished, &value) == napi_ok) {
    napi_resolve_deferred(env, call->deferred, value);
  }
  napi_delete_reference(env, call->packed);
  napi_delete_reference(env, call->output);
  BufferCache::process().give_back(std::move(call->memory));
  async.calls.erase(call->ticket);
  // The event loop lives as long as a call is pending, no longer.
  if (async.calls.empty()) napi_unref_threadsafe_function(env, async.done);
  delete call;
}

// Runs before the environment's buffers are freed: nobody may be writing to one then.
void close_async(void* data) {
  Async* async = static_cast<Async*>(data);
  for (const auto& [ticket, call] : async->calls) call->cancelled = true;
  {
    std::unique_lock lock(async->mutex);
    async->idle.wait(lock, [&] { return async->in_pool == 0; });
  }
  for (const auto& [ticket, call] : async->calls) delete call;
  delete async;
}

float* snapshot(float* to, const Floats& from, std::ptrdiff_t count) {
  if (count > 0) std::memcpy(to, from.data, static_cast<std::size_t>(count) * sizeof(float));
  return to;
}

std::size_t aligned_bytes(std::ptrdiff_t floats) {
  return align_up(static_cast<std::size_t>(floats) * sizeof(float));
}

// Copies what the caller may change. Throws std::bad_alloc.
Call* make_call(const Conv2dPlan& plan, const Floats& input, const Floats& add) {
  const Extents extents(plan.problem);
  const std::ptrdiff_t add_floats = add.data == nullptr ? 0 : extents.output;
  const std::size_t input_bytes = aligned_bytes(extents.input);
  const std::size_t add_bytes = aligned_bytes(add_floats);
  Buffer memory =
      BufferCache::process().take(input_bytes + add_bytes + plan.workspace_bytes() + kAlignment);
  std::byte* const base = memory.data();
  Call* call = new Call;
  call->run = run_call;
  call->plan = plan;
  call->tensors.input = snapshot(reinterpret_cast<float*>(base), input, extents.input);
  call->tensors.add = add.data == nullptr ? nullptr
                                          : snapshot(reinterpret_cast<float*>(base + input_bytes),
                                                     add, extents.output);
  call->workspace = reinterpret_cast<float*>(base + input_bytes + add_bytes);
  call->memory = std::move(memory);
  return call;
}

}  // namespace

void start_async(Napi::Env env) {
  Async* async = new Async;
  napi_value name = Napi::String::New(env, "gemmconv");
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                  settle, &async->done);
  napi_unref_threadsafe_function(env, async->done);
  // Hooks run last in, first out: this one before the thread-safe function's own.
  napi_add_env_cleanup_hook(env, close_async, async);
  napi_set_instance_data(env, async, nullptr, nullptr);
}

Napi::Value run_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  Async* async = static_cast<Async*>(data);
  const Conv2dPlan plan = plan_of(info[0]);
  const Floats input = floats_of(info[2]);
  const Floats add = floats_of(info[3]);
  const Extents extents(plan.problem);
  const bool add_fits = info[3].IsNull() || add.holds(extents.output);
  if (!input.holds(extents.input) || !add_fits) return env.Null();

  Call* call = nullptr;
  try {
    call = make_call(plan, input, add);
    async->calls.emplace(info[5].As<Napi::Number>().DoubleValue(), call);
  } catch (const std::bad_alloc&) {
    delete call;
    throw_out_of_memory(env);
    return env.Undefined();
  }
  call->async = async;
  call->ticket = info[5].As<Napi::Number>().DoubleValue();
  call->tensors.packed = packed_of(info[1]);
  call->tensors.output = reinterpret_cast<float*>(bytes_of(info[4]));
  prefer_huge_pages(call->tensors.output, static_cast<std::size_t>(extents.output) * sizeof(float));
  napi_value promise = nullptr;
  napi_create_promise(env, &call->deferred, &promise);
  napi_create_reference(env, info[1], 1, &call->packed);
  napi_create_reference(env, info[4], 1, &call->output);
  if (async->calls.size() == 1) napi_ref_threadsafe_function(env, async->done);
  {
    const std::lock_guard lock(async->mutex);
    ++async->in_pool;
  }
  try {
    ThreadPool::process().submit(*call);
  } catch (const std::system_error&) {
    // Not one thread to be had: late and on the caller's own is better than never.
    run_call(*call);
  }
  return Napi::Value(env, promise);
}

Napi::Value cancel(const Napi::CallbackInfo& info) {
  void* data = nullptr;
  napi_get_instance_data(info.Env(), &data);
  Async* async = static_cast<Async*>(data);
  const auto found = async->calls.find(info[0].As<Napi::Number>().DoubleValue());
  if (found != async->calls.end()) found->second->cancelled = true;
  return info.Env().Undefined();
}

}  // namespace gemmconv::addon
