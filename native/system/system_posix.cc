// SPDX-License-Identifier: MIT
// The part that Linux, macOS and other Unix systems have in common.
#include "system/system_posix.h"

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

#include "system/system.h"

namespace gemmconv::system {
namespace {

// Signals belong to the threads that Node knows of; a fault's own handler must see it. A new thread
// inherits the mask.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

void start_thread(std::function<void()> run) {
  const SignalsBlocked blocked;
  std::thread([run = std::move(run)] {
    introduce_this_thread();
    run();
  }).detach();
}

}  // namespace gemmconv::system
