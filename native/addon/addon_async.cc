// SPDX-License-Identifier: MIT
// What becomes of asynchronous calls. Those that the workers have finished wait in a list until
// lib/calls.ts, told by a thread-safe function, takes them from there, many at a time; or they are
// cancelled, or their environment ends.
#include <cstring>
#include <utility>

#include "addon/addon_call.h"
#include "threads/threads.h"

namespace gemmconv::addon {

Async& Async::of(Napi::Env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Async*>(data);
}

Call* Async::call_of(std::int32_t ticket) const { return calls[static_cast<std::size_t>(ticket)]; }

// The event loop lives as long as a call is open, no longer.
void Async::add(Call* call) {
  const auto index = static_cast<std::size_t>(call->ticket);
  if (calls.size() <= index) calls.resize(index + 1);
  calls[index] = call;
  if (++open == 1) napi_ref_threadsafe_function(env, wake);
}

void Async::tell_idle() {
  if (is_idle()) idle.notify_all();
}

bool Call::start(Job* after) {
  is_started = true;
  bool is_alone = false;
  {
    const std::lock_guard lock(async->mutex);
    is_alone = ++async->in_pool == 1;
  }
  ThreadPool::process().submit(job(), after);
  return is_alone;
}

void Call::finished(bool is_last) noexcept {
  Async& a = *async;
  {
    const std::lock_guard lock(a.mutex);
    (a.first_finished == nullptr ? a.first_finished : a.last_finished->next_finished) = this;
    a.last_finished = this;
    --a.in_pool;
    if (a.woken || !is_last) {
      a.tell_idle();
      return;
    }
    a.woken = true;
    ++a.telling;
  }
  // Not under the lock: whom it wakes wants that first of all, and may have this very core.
  // It fails only when the environment is closing: close_async frees the call.
  napi_call_threadsafe_function(a.wake, nullptr, napi_tsfn_nonblocking);
  const std::lock_guard lock(a.mutex);
  --a.telling;
  a.tell_idle();
}

namespace {

void release(Napi::Env env, Call* call, CallQueue::End end) {
  Async& async = *call->async;
  if (call->held_bytes > 0) CallQueue::process().leave(call->held_bytes, end);
  BufferCache::process().give_back(std::move(call->memory));
  async.calls[static_cast<std::size_t>(call->ticket)] = nullptr;
  if (--async.open == 0) napi_unref_threadsafe_function(env, async.wake);
  delete call;
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
  Async& async = Async::of(env);
  Napi::Int32Array list = info[0].As<Napi::Int32Array>();
  std::int32_t* next = list.Data();
  const std::int32_t* const end = next + list.ElementLength();
  int taken = 0;
  std::int64_t bytes = 0;
  for (; next != end && bytes < kBytesATurn; ++taken) {
    Call* const call = take_one(async, taken == 0);
    if (call == nullptr) break;
    bytes += static_cast<std::int64_t>(call->memory.size());
    const Outcome outcome = outcome_of(call->job());
    *next++ = call->ticket;
    *next++ = static_cast<std::int32_t>(outcome);
    const bool has_output = call->aside != nullptr && call->wanted && outcome == Outcome::done;
    if (!has_output) release(env, call, end_of(outcome));
  }
  return Napi::Number::New(env, taken);
}

Napi::Value collect(const Napi::CallbackInfo& info) {
  Async& async = Async::of(info.Env());
  auto* call = static_cast<ComputeCall*>(async.call_of(ticket_of(info[0])));
  const Floats out = floats_of(info[1]);
  const auto count = static_cast<std::size_t>(Extents(call->plan->problem).output);
  const bool fits = out.length == count;
  if (fits) std::memcpy(out.data, call->aside, count * sizeof(float));
  release(info.Env(), call, fits ? CallQueue::End::completed : CallQueue::End::failed);
  return value_of(info.Env(), fits ? Outcome::done : Outcome::out_changed);
}

void forgo(const Napi::CallbackInfo& info) {
  Call* const call = Async::of(info.Env()).call_of(ticket_of(info[0]));
  CallQueue::process().forgo(std::exchange(call->held_bytes, 0));
  release(info.Env(), call, CallQueue::End::aborted);
}

Napi::Value cancel(const Napi::CallbackInfo& info) {
  Async& async = Async::of(info.Env());
  Call* const call = async.call_of(ticket_of(info[0]));
  if (!call->is_started) {
    release(info.Env(), call, CallQueue::End::aborted);
    return Napi::Boolean::New(info.Env(), true);
  }
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
  // What calls wait for after them: then none does any more.
  for (const bool is_awaited : {false, true}) {
    for (Call* call : async->calls) {
      if (call == nullptr || !call->is_started || call->job().has_dependants != is_awaited)
        continue;
      if (ThreadPool::process().withdraw(call->job())) {
        ++withdrawn;
      } else {
        call->interruption.emplace();
      }
    }
  }
  {
    std::unique_lock lock(async->mutex);
    async->in_pool -= withdrawn;
    async->idle.wait(lock, [&] { return async->is_idle(); });
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
  napi_create_reference(info.Env(), info[0], 1, &Async::of(info.Env()).on_finished);
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
  export_starts(env, exports);
  exports["onFinished"] = Napi::Function::New<set_on_finished>(env);
  exports["takeFinished"] = Napi::Function::New<take_finished>(env);
  exports["collect"] = Napi::Function::New<collect>(env);
  exports["forgo"] = Napi::Function::New<forgo>(env);
  exports["cancel"] = Napi::Function::New<cancel>(env);
  exports["setLimits"] = Napi::Function::New<set_limits>(env);
  exports["stats"] = Napi::Function::New<stats>(env);
}

}  // namespace gemmconv::addon
