// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace gemmconv {

// A copy that a thread on another core is going to read, of memory that it has perhaps read before.
// `to` is aligned to kAlignment.
void copy_for_other_core(std::byte* to, const std::byte* from, std::size_t bytes);

}  // namespace gemmconv
