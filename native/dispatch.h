// SPDX-License-Identifier: MIT
// The kernels of each instruction set as a table, best last, and which of them is in use.
#pragma once

#include <string_view>

#include "kernel/kernel.h"

namespace gemmconv {

struct Isa {
  const char* name;  // as in CMakeLists.txt, GEMMCONV_ISA, plan() and the bench
  bool (*runs_here)();
  const Kernels& kernels;
};

int isa_count();
const Isa& isa_at(int index);

// The widest this CPU runs, unless `use_isa` has chosen another.
const Isa& current_isa();
// False when the name is unknown or this CPU cannot run it.
bool use_isa(std::string_view name);

}  // namespace gemmconv
