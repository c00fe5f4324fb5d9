// SPDX-License-Identifier: MIT
// Where a stepper's commands come from and its screens go: on a terminal a screen that follows
// keys, elsewhere a script on standard input, each line a command, each followed by its screen.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/unique_fd.hpp"
#include "vmm/io/raw_terminal.hpp"
#include "vmm/trace/screen.hpp"
#include "vmm/trace/step_commands.hpp"

namespace hvtrace {

struct StepLoop {
  std::function<std::string(ScreenSize)> screen;
  std::function<StepOutcome(std::string_view line)> execute;
  // Shown with the first screen. Empty: a script's first screen is that of its first command.
  std::string opening;
};

class StepConsole {
 public:
  enum class End : std::uint8_t {
    quit,
    resumed,    // a command lets the guest run on
    input_over, // no more commands will come
    stopped,    // `stop_fd` became readable
  };

  StepConsole();

  // Takes commands until one leaves. May be called again: input goes on where it was.
  // `stop_fd` < 0: nothing stops it but input.
  End run(const StepLoop& loop, int stop_fd = -1);

 private:
  End run_terminal(const StepLoop& loop);
  End follow_keys(const StepLoop& loop);
  End run_script(const StepLoop& loop);
  [[nodiscard]] std::optional<char> next_character();
  [[nodiscard]] std::optional<std::string> next_line();
  [[nodiscard]] std::optional<char> next_key();
  [[nodiscard]] std::optional<std::string> argument(char command);

  int stop_fd_ = -1;
  bool stopped_ = false;
  // Made beforehand: where the console is called, a sandbox lets nobody make one.
  vmm::UniqueFd terminal_event_;
  std::optional<vmm::RawTerminal> terminal_; // while keys are followed
  std::function<void()> redraw_;             // what the terminal shows now
  std::string input_;                        // read and not yet used, from input_at_ on
  std::size_t input_at_ = 0;
};

} // namespace hvtrace
