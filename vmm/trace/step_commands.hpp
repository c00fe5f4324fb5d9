// SPDX-License-Identifier: MIT
// The stepper's language: one line, one command. Keys of a terminal and lines of a script end up
// here, so a script does what a user would.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/symbols.hpp"
#include "vmm/trace/filter.hpp"
#include "vmm/trace/stepper.hpp"

namespace hvtrace {

struct StepOutcome {
  std::string message{}; // to show below the screen; empty for none
  bool quit = false;
  // The command asked to go on, and the trace has nothing (fitting) further on. A file says so in
  // `message`; beside a running guest it means: let it run.
  bool beyond_end = false;
  bool resume = false; // the guest runs on; only beside one
};

// The words of a command line, and what they mean.
[[nodiscard]] std::string_view trimmed(std::string_view text);
// A whole number, decimal or 0x; `fallback` for no text, empty for nonsense.
[[nodiscard]] std::optional<std::uint64_t> whole_number(std::string_view text,
                                                        std::uint64_t fallback);

// A line taken apart: "u order=4", "until order=4", "s3".
struct StepLine {
  char command = 0;
  std::string_view rest;
};
// Long names come as their letters. A lone space pages, as in less; nothing at all is a step.
[[nodiscard]] StepLine take_apart(std::string_view line);

class StepCommands {
 public:
  // Both outlive the object.
  StepCommands(Stepper& stepper, const vmm::Symbols& symbols)
      : stepper_(stepper), symbols_(symbols) {}

  StepOutcome execute(std::string_view line);
  [[nodiscard]] static std::string help();

 private:
  StepOutcome search(std::string_view text, bool backwards);

  Stepper& stepper_;
  const vmm::Symbols& symbols_;
  std::optional<Filter> last_;
  bool last_backwards_ = false;
};

} // namespace hvtrace
