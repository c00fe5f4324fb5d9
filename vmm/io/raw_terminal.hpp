// SPDX-License-Identifier: MIT
// A terminal that hands out keys one by one, not echoed, on a screen of its own, and is put back
// however that ends: at the end of the object, when the user stops the process (SIGTSTP, and set
// again by SIGCONT), and when a signal ends it.
#pragma once

#include <cstddef>

namespace vmm {

class RawTerminal {
 public:
  struct Size {
    std::size_t columns = 0; // 0 x 0: the terminal does not say
    std::size_t rows = 0;
  };

  // Standard input and output are the same terminal. `event_fd`, an eventfd that does not block,
  // becomes readable when the user wants the process to stop, or when the screen is to be drawn
  // again: the process was continued, or the terminal has another size. One at a time in a process.
  explicit RawTerminal(int event_fd);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();

  [[nodiscard]] static Size size();

  // When the descriptor has become readable. Puts the terminal back and stops the process, if that
  // is wanted, and returns when it goes on. Then the screen is to be drawn again.
  void take_event();

 private:
  int event_fd_;
};

} // namespace vmm
