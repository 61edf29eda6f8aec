// SPDX-License-Identifier: MIT
// What system_posix.cc wants to know of the system at hand.
#pragma once

namespace gemmconv::system {

// In a thread that start_thread has started, before all else: its name, its niceness.
void introduce_this_thread();

}  // namespace gemmconv::system
