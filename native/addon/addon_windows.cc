// SPDX-License-Identifier: MIT
// The addon's imports name node.exe; the program that loads it may be bun.exe, deno.exe or one with
// Node inside. The linker's delay-load code asks us for the module, and gets the program itself.
#include <windows.h>

#include <cstring>

// After windows.h, which it needs.
#include <delayimp.h>

namespace {

FARPROC WINAPI find_program(unsigned event, DelayLoadInfo* info) {
  if (event != dliNotePreLoadLibrary || _stricmp(info->szDll, "node.exe") != 0) return nullptr;
  return reinterpret_cast<FARPROC>(GetModuleHandleW(nullptr));
}

}  // namespace

// As delayimp.h declares it: const in Microsoft's, not in others'.
ExternC decltype(__pfnDliNotifyHook2) __pfnDliNotifyHook2 = find_program;
