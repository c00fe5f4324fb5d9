// SPDX-License-Identifier: MIT
// Puts the user's terminal back into the mode that it had, whatever a program in the guest has made
// of it and however the vmm ends: at the end of the object, when a signal hurries the end, and when
// a fault or a failed assertion is the end.
#pragma once

namespace vmm {

class TerminalKeeper {
 public:
  // Of standard input, output or errors, the first that is a terminal. One at a time in a process;
  // make it before signals are blocked or threads made.
  TerminalKeeper();
  TerminalKeeper(const TerminalKeeper&) = delete;
  TerminalKeeper& operator=(const TerminalKeeper&) = delete;
  ~TerminalKeeper();

  // The same at once; also for signal handlers.
  static void put_back();
};

} // namespace vmm
