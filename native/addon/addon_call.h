// SPDX-License-Identifier: MIT
// Asynchronous calls, as plain data: what crosses to the workers, and where they leave what they
// have finished.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "addon/addon_queue.h"
#include "addon/addon_values.h"
#include "threads/slice.h"

namespace gemmconv::addon {

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
  std::ptrdiff_t telling = 0;  // workers about to wake the event loop
  Call* first_finished = nullptr;
  Call* last_finished = nullptr;
  bool woken = false;  // somebody is going to take what is in the list

  static Async& of(Napi::Env env);
  Call* call_of(std::int32_t ticket) const;
  // Throws std::bad_alloc, with nothing done.
  void add(Call* call);

  // Whether no worker knows of this environment. Under the mutex, both.
  bool is_idle() const { return in_pool == 0 && telling == 0; }
  void tell_idle();
};

inline std::int32_t ticket_of(const Napi::Value& value) {
  return value.As<Napi::Number>().Int32Value();
}

// lib/ holds on to the arrays it works on until it has taken it.
struct Call {
  Async* async;
  std::int32_t ticket;
  Call* next_finished = nullptr;
  Buffer memory;           // copies of input and `add`, and the output where that goes to `out`
  float* aside = nullptr;  // that output; collect() copies it
  std::int64_t held_bytes = 0;               // counted by CallQueue; 0 when it is no user's call
  bool is_started = false;                   // the pool knows of it
  bool wanted = true;                        // by JS; of the environment's own thread
  std::optional<Interruption> interruption;  // of the worker that has it, when it is not

  Call(Async* a, std::int32_t t) : async(a), ticket(t) {}
  virtual ~Call() = default;
  virtual Job& job() = 0;

  // To the pool, where it waits for `after` unless that is null. True when it is the only one
  // there.
  bool start(Job* after);
  // On a worker. The call may be gone once in_pool has gone down, the environment once nobody is
  // telling, either. Whoever is about to say so of another call wakes the event loop for both.
  void finished(bool is_last) noexcept;
};

// What the pool calls when a job has finished that is a call of type C.
template <typename C>
void finish_call(Job& job) noexcept {
  C& call = static_cast<C&>(job);
  const Job* const next = job.next;
  const bool is_last = next == nullptr || next->finish != job.finish ||
                       static_cast<const C*>(next)->async != call.async;
  call.Call::finished(is_last);
}

struct ComputeCall final : Call, Conv2dJob {
  ComputeCall(Async* a, std::int32_t t, const Conv2dPlan& plan) : Call(a, t), Conv2dJob(plan, {}) {
    finish = finish_call<ComputeCall>;
  }
  Job& job() override { return *this; }
};

// In addon_start.cc: the exports that start calls.
void export_starts(Napi::Env env, Napi::Object exports);

}  // namespace gemmconv::addon
