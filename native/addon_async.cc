// SPDX-License-Identifier: MIT
// Asynchronous calls. A JS buffer may be transferred, resized or freed while a worker reads it, so
// a call copies its input before it returns, and writes to an array that nobody else has seen, or
// to memory of its own. Only plain data crosses to the workers. What they have finished waits in a
// list until lib/calls.ts, told by a thread-safe function, takes it from there, many at a time.
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "addon_queue.h"
#include "addon_values.h"
#include "slice.h"
#include "threads.h"

namespace gemmconv::addon {
namespace {

struct Call;

// What one environment (main thread or worker) has under way.
struct Async {
  // The environment's own thread only.
  napi_env env = nullptr;
  napi_threadsafe_function wake = nullptr;
  napi_ref on_finished = nullptr;
  std::vector<Call*> calls;  // by ticket
  std::ptrdiff_t open = 0;   // of them

  std::mutex mutex;  // for all below
  std::condition_variable idle;
  std::ptrdiff_t in_pool = 0;  // calls that a worker may still touch
  Call* first_finished = nullptr;
  Call* last_finished = nullptr;
  bool woken = false;  // somebody is going to take what is in the list

  void add(std::int32_t ticket, Call* call);
};

// lib/ holds on to the arrays it works on until it has taken it.
struct Call {
  Async* async;
  std::int32_t ticket;
  Call* next_finished = nullptr;
  Buffer memory;           // copies of input and `add`, and the output where that goes to `out`
  float* aside = nullptr;  // that output; collect() copies it
  std::int64_t held_bytes = 0;               // counted by CallQueue; 0 when it is no user's call
  bool wanted = true;                        // by JS; of the environment's own thread
  std::optional<Interruption> interruption;  // of the worker that has it, when it is not

  Call(Async* a, std::int32_t t) : async(a), ticket(t) {}
  virtual ~Call() = default;
  virtual Job& job() = 0;

  // On a worker. The environment, and the call with it, may be gone once in_pool has gone down.
  void finished() noexcept {
    Async& a = *async;
    const std::lock_guard lock(a.mutex);
    (a.first_finished == nullptr ? a.first_finished : a.last_finished->next_finished) = this;
    a.last_finished = this;
    if (!a.woken) {
      a.woken = true;
      // It fails only when the environment is closing: close_async frees the call.
      napi_call_threadsafe_function(a.wake, nullptr, napi_tsfn_nonblocking);
    }
    if (--a.in_pool == 0) a.idle.notify_all();
  }
};

struct ComputeCall final : Call, Conv2dJob {
  ComputeCall(Async* a, std::int32_t t, const Conv2dPlan& plan) : Call(a, t), Conv2dJob(plan, {}) {
    finish = [](Job& job) noexcept { static_cast<ComputeCall&>(job).Call::finished(); };
  }
  Job& job() override { return *this; }
};

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
    finish = [](Job& job) noexcept { static_cast<PackCall&>(job).Call::finished(); };
  }
  Job& job() override { return *this; }
};

Async& async_of(Napi::Env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Async*>(data);
}

std::int32_t ticket_of(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }

// Throws std::bad_alloc, with nothing done.
void Async::add(std::int32_t ticket, Call* call) {
  const auto index = static_cast<std::size_t>(ticket);
  if (calls.size() <= index) calls.resize(index + 1);
  calls[index] = call;
  ++open;
}

// The event loop lives as long as a call is open, no longer.
void start(Napi::Env env, Call& call, Job* after) {
  Async& async = *call.async;
  if (async.open == 1) napi_ref_threadsafe_function(env, async.wake);
  {
    const std::lock_guard lock(async.mutex);
    ++async.in_pool;
  }
  ThreadPool::process().submit(call.job(), after);
}

void release(Napi::Env env, Call* call, CallQueue::End end) {
  Async& async = *call->async;
  if (call->held_bytes > 0) CallQueue::process().leave(call->held_bytes, end);
  BufferCache::process().give_back(std::move(call->memory));
  async.calls[static_cast<std::size_t>(call->ticket)] = nullptr;
  if (--async.open == 0) napi_unref_threadsafe_function(env, async.wake);
  delete call;
}

std::size_t bytes_for(std::ptrdiff_t floats) {
  return align_up(static_cast<std::size_t>(floats) * sizeof(float));
}

float* copy_of(std::byte* to, const Floats& from, std::ptrdiff_t count) {
  if (count > 0) std::memcpy(to, from.data, static_cast<std::size_t>(count) * sizeof(float));
  return reinterpret_cast<float*>(to);
}

// Copies what the caller may change, and puts the call into `async`. Null when the queue is full.
// Throws std::bad_alloc, with nothing done.
ComputeCall* make_call(Async& async, std::int32_t ticket, const Conv2dPlan& plan,
                       const Floats& input, const Floats& add, float* output) {
  const Extents extents(plan.problem);
  const std::size_t input_bytes = bytes_for(extents.input);
  const std::size_t add_bytes = add.is_given ? bytes_for(extents.output) : 0;
  const std::size_t output_bytes = bytes_for(extents.output);
  const std::size_t own_bytes = input_bytes + add_bytes + (output == nullptr ? output_bytes : 0);
  auto call = std::make_unique<ComputeCall>(&async, ticket, plan);
  const auto held =
      static_cast<std::int64_t>(input_bytes + add_bytes + output_bytes + sizeof(ComputeCall));
  if (!CallQueue::process().enter(held)) return nullptr;
  try {
    call->memory = BufferCache::process().take(own_bytes);
    async.add(ticket, call.get());
  } catch (const std::bad_alloc&) {
    CallQueue::process().leave(held, CallQueue::End::failed);
    throw;
  }
  call->held_bytes = held;
  std::byte* const memory = call->memory.data();
  call->tensors.input = copy_of(memory, input, extents.input);
  if (add.is_given) call->tensors.add = copy_of(memory + input_bytes, add, extents.output);
  if (output == nullptr) {
    output = call->aside = reinterpret_cast<float*>(memory + input_bytes + add_bytes);
  } else {
    prefer_huge_pages(output, output_bytes);
  }
  call->tensors.output = output;
  return call.release();
}

Napi::Value run_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Async& async = async_of(env);
  const StoredPlan& stored = stored_plan_of(info[0]);
  const Floats input = floats_of(info[2]);
  const Floats add = floats_of(info[3]);
  const Floats output = floats_of(info[4]);
  const Outcome outcome = check_call(stored, input, add);
  if (outcome != Outcome::done) return value_of(env, outcome);
  try {
    ComputeCall* const call =
        make_call(async, ticket_of(info[5]), stored.plan, input, add, output.data);
    if (call == nullptr) return value_of(env, Outcome::queue_full);
    call->tensors.packed = packed_of(info[1]);
    const std::int32_t packing = ticket_of(info[6]);
    start(env, *call,
          packing < 0 ? nullptr : &async.calls[static_cast<std::size_t>(packing)]->job());
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
  return value_of(env, Outcome::done);
}

Napi::Value pack_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Async& async = async_of(env);
  try {
    auto call = std::make_unique<PackCall>(&async, ticket_of(info[4]));
    call->plan = &plan_of(info[0]);
    call->filter = floats_of(info[1]).data;
    call->bias = floats_of(info[2]).data;
    call->packed = packed_of(info[3]);
    call->estimated_ns = pack_ns(*call->plan);
    async.add(call->ticket, call.get());
    start(env, *call.release(), nullptr);
  } catch (const std::bad_alloc&) {
    return value_of(env, Outcome::out_of_memory);
  }
  return value_of(env, Outcome::done);
}

Outcome outcome_of(const Job& job) {
  if (job.out_of_memory.load(std::memory_order_relaxed)) return Outcome::out_of_memory;
  if (job.cancelled.load(std::memory_order_relaxed)) return Outcome::cancelled;
  return Outcome::done;
}

CallQueue::End end_of(Outcome outcome) {
  if (outcome == Outcome::done) return CallQueue::End::completed;
  return outcome == Outcome::cancelled ? CallQueue::End::aborted : CallQueue::End::failed;
}

// Null when none has finished. Then, if `is_first`, the next one wakes the event loop again.
Call* take_one(Async& async, bool is_first) {
  const std::lock_guard lock(async.mutex);
  Call* const call = async.first_finished;
  if (call != nullptr) async.first_finished = call->next_finished;
  if (call == nullptr && is_first) async.woken = false;
  return call;
}

// What the event loop settles in one turn: those who waited for these calls are likely to start as
// many again, and to copy as much input.
constexpr std::int64_t kBytesATurn = std::int64_t{1} << 20;

Napi::Value take_finished(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Async& async = async_of(env);
  Napi::Int32Array list = info[0].As<Napi::Int32Array>();
  std::int32_t* next = list.Data();
  const std::int32_t* const end = next + list.ElementLength();
  int taken = 0;
  std::int64_t bytes = 0;
  for (; next != end && bytes < kBytesATurn; ++taken) {
    Call* const call = take_one(async, taken == 0);
    if (call == nullptr) break;
    bytes += call->held_bytes;
    const Outcome outcome = outcome_of(call->job());
    *next++ = call->ticket;
    *next++ = static_cast<std::int32_t>(outcome);
    const bool has_output = call->aside != nullptr && call->wanted && outcome == Outcome::done;
    if (!has_output) release(env, call, end_of(outcome));
  }
  return Napi::Number::New(env, taken);
}

Napi::Value collect(const Napi::CallbackInfo& info) {
  Async& async = async_of(info.Env());
  auto* call = static_cast<ComputeCall*>(async.calls[static_cast<std::size_t>(ticket_of(info[0]))]);
  const Floats out = floats_of(info[1]);
  const auto count = static_cast<std::size_t>(Extents(call->plan->problem).output);
  const bool fits = out.length == count;
  if (fits) std::memcpy(out.data, call->aside, count * sizeof(float));
  release(info.Env(), call, fits ? CallQueue::End::completed : CallQueue::End::failed);
  return value_of(info.Env(), fits ? Outcome::done : Outcome::out_changed);
}

Napi::Value cancel(const Napi::CallbackInfo& info) {
  Async& async = async_of(info.Env());
  Call* const call = async.calls[static_cast<std::size_t>(ticket_of(info[0]))];
  call->wanted = false;
  const bool gone = ThreadPool::process().withdraw(call->job());
  if (!gone) call->interruption.emplace();
  if (gone) {
    {
      const std::lock_guard lock(async.mutex);
      --async.in_pool;
    }
    release(info.Env(), call, CallQueue::End::aborted);
  }
  return Napi::Boolean::New(info.Env(), gone);
}

// Back on the environment's thread. `env` is null when it closes: close_async has been there.
void call_on_finished(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;
  const Async& async = *static_cast<Async*>(context);
  napi_value function = nullptr, undefined = nullptr;
  if (napi_get_reference_value(env, async.on_finished, &function) != napi_ok) return;
  if (napi_get_undefined(env, &undefined) != napi_ok) return;
  napi_call_function(env, undefined, function, 0, nullptr, nullptr);
}

// Runs before the environment's buffers are freed: nobody may be writing to one then.
void close_async(void* data) {
  Async* async = static_cast<Async*>(data);
  std::ptrdiff_t withdrawn = 0;
  for (Call* call : async->calls) {
    if (call != nullptr && ThreadPool::process().withdraw(call->job())) ++withdrawn;
  }
  {
    std::unique_lock lock(async->mutex);
    async->in_pool -= withdrawn;
    async->idle.wait(lock, [&] { return async->in_pool == 0; });
  }
  for (Call* call : async->calls) {
    if (call == nullptr) continue;
    if (call->held_bytes > 0) {
      CallQueue::process().leave(call->held_bytes, CallQueue::End::aborted);
    }
    delete call;
  }
  napi_delete_reference(async->env, async->on_finished);
  delete async;
}

void set_on_finished(const Napi::CallbackInfo& info) {
  napi_create_reference(info.Env(), info[0], 1, &async_of(info.Env()).on_finished);
}

void set_limits(const Napi::CallbackInfo& info) {
  CallQueue::process().limit(info[0].As<Napi::Number>(), info[1].As<Napi::Number>());
}

Napi::Value stats(const Napi::CallbackInfo& info) {
  const CallQueue& queue = CallQueue::process();
  const ThreadPool& pool = ThreadPool::process();
  Napi::Object stats = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, auto value) { stats[name] = static_cast<double>(value); };
  set("threads", pool.threads());
  set("pending", queue.pending());
  set("running", pool.running());
  set("pendingBytes", queue.pending_bytes());
  set("completed", queue.ended(CallQueue::End::completed));
  set("aborted", queue.ended(CallQueue::End::aborted));
  set("failed", queue.ended(CallQueue::End::failed));
  set("refused", queue.refused());
  set("busyMs", static_cast<double>(pool.busy_ns()) / 1e6);
  set("maxPending", queue.max_pending());
  set("maxPendingBytes", queue.max_pending_bytes());
  return stats;
}

}  // namespace

void start_async(Napi::Env env, Napi::Object exports) {
  Async* async = new Async;
  async->env = env;
  const napi_value name = Napi::String::New(env, "gemmconv");
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, async,
                                  call_on_finished, &async->wake);
  napi_unref_threadsafe_function(env, async->wake);
  // Hooks run last in, first out: this one before the thread-safe function's own.
  napi_add_env_cleanup_hook(env, close_async, async);
  napi_set_instance_data(env, async, nullptr, nullptr);
  exports["runAsync"] = Napi::Function::New<run_async>(env);
  exports["packAsync"] = Napi::Function::New<pack_async>(env);
  exports["onFinished"] = Napi::Function::New<set_on_finished>(env);
  exports["takeFinished"] = Napi::Function::New<take_finished>(env);
  exports["collect"] = Napi::Function::New<collect>(env);
  exports["cancel"] = Napi::Function::New<cancel>(env);
  exports["setLimits"] = Napi::Function::New<set_limits>(env);
  exports["stats"] = Napi::Function::New<stats>(env);
}

}  // namespace gemmconv::addon
