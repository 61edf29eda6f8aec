// SPDX-License-Identifier: MIT
#include "dispatch.h"

#include <atomic>
#include <iterator>

#include "system/cpu.h"

namespace gemmconv {

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

namespace {

bool always() { return true; }

// Best last.
const Isa kIsas[] = {
    {"baseline", always, baseline::kernels},
#if defined(__x86_64__)
    {"avx2", cpu_has_avx2_fma, avx2::kernels},
    {"avx512", cpu_has_avx512f, avx512::kernels},
#endif
};

std::atomic<const Isa*> chosen{nullptr};

}  // namespace

int isa_count() { return static_cast<int>(std::size(kIsas)); }

const Isa& isa_at(int index) { return kIsas[index]; }

const Isa& current_isa() {
  if (const Isa* isa = chosen.load(std::memory_order_acquire)) return *isa;
  int best = isa_count() - 1;
  while (!kIsas[best].runs_here()) --best;  // ends at baseline
  chosen.store(&kIsas[best], std::memory_order_release);
  return kIsas[best];
}

bool use_isa(std::string_view name) {
  for (const Isa& isa : kIsas) {
    if (name != isa.name) continue;
    if (!isa.runs_here()) return false;
    chosen.store(&isa, std::memory_order_release);
    return true;
  }
  return false;
}

}  // namespace gemmconv
