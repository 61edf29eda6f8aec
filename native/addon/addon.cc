// SPDX-License-Identifier: MIT
// The boundary: converts and calls, nothing else. binding.d.ts says what each export means.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <string>

#include "addon/addon_values.h"
#include "system/cpu.h"
#include "threads/threads.h"

namespace gemmconv::addon {
namespace {

// Reads the numbers of a problem in the order of `ProblemField` in binding.d.ts.
class Fields {
 public:
  explicit Fields(const Napi::Value& value) : next_(value.As<Napi::Float64Array>().Data()) {}

  std::ptrdiff_t integer() { return static_cast<std::ptrdiff_t>(*next_++); }
  float real() { return static_cast<float>(*next_++); }
  template <typename Enum>
  Enum choice() {
    return static_cast<Enum>(static_cast<int>(*next_++));
  }

 private:
  const double* next_;
};

Conv2dProblem problem_of(const Napi::Value& value) {
  Fields fields(value);
  Conv2dProblem p;
  for (std::ptrdiff_t* field :
       {&p.batch, &p.channels, &p.height, &p.width, &p.out_channels, &p.kernel_h, &p.kernel_w,
        &p.groups, &p.stride_h, &p.stride_w, &p.dilation_h, &p.dilation_w, &p.pad_top, &p.pad_left,
        &p.out_height, &p.out_width}) {
    *field = fields.integer();
  }
  p.layout = fields.choice<Layout>();
  p.filter_layout = fields.choice<FilterLayout>();
  p.epilogue.activation = fields.choice<Activation>();
  p.epilogue.min = fields.real();
  p.epilogue.max = fields.real();
  p.algorithm = fields.choice<AlgorithmName>();
  p.fragile = fields.integer() != 0;
  return p;
}

Napi::Value make_plan(const Napi::CallbackInfo& info) {
  // Read before the settings: a change in between makes the plan stale, not the other way round.
  const int generation = settings_generation.load(std::memory_order_acquire);
  const auto plan =
      gemmconv::make_plan(problem_of(info[0]), current_isa(), ThreadPool::process().threads());
  if (!plan) return info.Env().Null();
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(info.Env(), sizeof(StoredPlan));
  if (buffer.IsEmpty()) return Napi::Value();  // no memory: V8 has thrown
  new (buffer.Data()) StoredPlan{*plan, generation};
  return buffer;
}

Napi::Value describe_plan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Conv2dPlan& plan = plan_of(info[0]);
  const auto number = [](auto value) { return static_cast<double>(value); };
  Napi::Object tile = Napi::Object::New(env);
  tile["mr"] = number(plan.tile.mr);
  tile["nr"] = number(plan.tile.vectors * plan.isa->kernels.gemm->lanes);
  Napi::Object blocks = Napi::Object::New(env);
  blocks["mc"] = number(plan.blocks.mc);
  blocks["kc"] = number(plan.blocks.kc);
  blocks["nc"] = number(plan.blocks.nc);
  blocks["lanes"] = plan.lanes == Lanes::pixels ? "pixels" : "channels";
  Napi::Object description = Napi::Object::New(env);
  description["algorithm"] = plan.algorithm_label();
  description["variant"] = plan.variant_label();
  description["isa"] = plan.isa->name;
  description["threads"] = number(plan.threads);
  description["tile"] = tile;
  description["blocks"] = blocks;
  description["workspaceBytes"] = number(plan.workspace_bytes());
  description["flops"] = plan.flops();
  description["estimatedCycles"] = plan.estimated_cycles();
  description["packedBytes"] = number(packed_bytes(plan) + kAlignment);
  description["packedFormat"] = number(packed_format(plan));
  return description;
}

void pack_filter(const Napi::CallbackInfo& info) {
  const Conv2dPlan plan = plan_of(info[0]);
  float* packed = packed_of(info[3]);
  // Streaming a large filter through small pages misses the TLB all the way: Winograd's 37 MB on
  // 512@7 took 1.4 times as long.
  prefer_huge_pages(packed, packed_bytes(plan));
  pack(plan, floats_of(info[1]).data, floats_of(info[2]).data, packed);
}

// Whether a float is NaN or infinite, in a form that compilers turn into vectors.
bool holds_non_finite(const Floats& floats) {
  bool found = false;
  for (std::size_t i = 0; i < floats.length; ++i) {
    found |= !(std::fabs(floats.data[i]) <= std::numeric_limits<float>::max());
  }
  return found;
}

Napi::Value is_fragile(const Napi::CallbackInfo& info) {
  const Floats bias = floats_of(info[1]);
  const bool negative_zero = std::any_of(bias.data, bias.data + bias.length,
                                         [](float b) { return b == 0 && std::signbit(b); });
  return Napi::Boolean::New(info.Env(), holds_non_finite(floats_of(info[0])) || negative_zero);
}

Outcome compute(const StoredPlan& stored, float* packed, const Floats& input, const Floats& add,
                const Floats& out) {
  const Outcome outcome = check_call(stored, input, add);
  if (outcome != Outcome::done) return outcome;
  if (!out.holds(Extents(stored.plan.problem).output)) return Outcome::out_changed;
  if (out.overlaps(input)) return Outcome::out_overlaps_input;
  if (out.overlaps(add)) return Outcome::out_overlaps_add;
  try {
    const Borrowed scratch(stored.plan.scratch_bytes());
    prefer_huge_pages(out.data, out.length * sizeof(float));
    const Conv2dTensors tensors{input.data, packed, add.data, out.data};
    return run(stored.plan, tensors, scratch.floats()) ? Outcome::done : Outcome::out_of_memory;
  } catch (const std::bad_alloc&) {
    return Outcome::out_of_memory;
  }
}

Napi::Value run_sync(const Napi::CallbackInfo& info) {
  return value_of(info.Env(), compute(stored_plan_of(info[0]), packed_of(info[1]),
                                      floats_of(info[2]), floats_of(info[3]), floats_of(info[4])));
}

Napi::Value describe_machine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array isas = Napi::Array::New(env);
  for (int i = 0; i < isa_count(); ++i) {
    if (isa_at(i).runs_here()) isas.Set(isas.Length(), isa_at(i).name);
  }
  Napi::Array variants = Napi::Array::New(env);
  for (int i = 0; i < variant_count(); ++i) variants.Set(variants.Length(), variant_at(i));
  Napi::Object cache = Napi::Object::New(env);
  cache["l1"] = static_cast<double>(cache_sizes().l1);
  cache["l2"] = static_cast<double>(cache_sizes().l2);
  cache["l3"] = static_cast<double>(cache_sizes().l3);
  Napi::Object machine = Napi::Object::New(env);
  machine["isa"] = current_isa().name;
  machine["isas"] = isas;
  machine["variants"] = variants;
  machine["cores"] = usable_cores();
  machine["cacheBytes"] = cache;
  return machine;
}

void set_threads(const Napi::CallbackInfo& info) {
  ThreadPool::process().set_threads(info[0].As<Napi::Number>().Int32Value());
  settings_generation.fetch_add(1, std::memory_order_release);
}

Napi::Value get_threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ThreadPool::process().threads());
}

Napi::Value set_isa(const Napi::CallbackInfo& info) {
  const bool known = use_isa(info[0].As<Napi::String>().Utf8Value());
  settings_generation.fetch_add(1, std::memory_order_release);
  return Napi::Boolean::New(info.Env(), known);
}

Napi::Value set_variant(const Napi::CallbackInfo& info) {
  const bool known = use_variant(info[0].As<Napi::String>().Utf8Value());
  settings_generation.fetch_add(1, std::memory_order_release);
  return Napi::Boolean::New(info.Env(), known);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["version"] = GEMMCONV_VERSION;
  exports["makePlan"] = Napi::Function::New<make_plan>(env);
  exports["describePlan"] = Napi::Function::New<describe_plan>(env);
  exports["packFilter"] = Napi::Function::New<pack_filter>(env);
  exports["runSync"] = Napi::Function::New<run_sync>(env);
  exports["isFragile"] = Napi::Function::New<is_fragile>(env);
  exports["info"] = Napi::Function::New<describe_machine>(env);
  exports["setThreads"] = Napi::Function::New<set_threads>(env);
  exports["getThreads"] = Napi::Function::New<get_threads>(env);
  exports["setIsa"] = Napi::Function::New<set_isa>(env);
  exports["setVariant"] = Napi::Function::New<set_variant>(env);
  start_async(env, exports);
  return exports;
}

NODE_API_MODULE(gemmconv, init)

}  // namespace
}  // namespace gemmconv::addon
