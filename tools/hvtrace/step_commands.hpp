// SPDX-License-Identifier: MIT
// The stepper's language: one line, one command. Keys of a terminal and lines of a script end up
// here, so a script does what a user would.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/hvtrace/filter.hpp"
#include "tools/hvtrace/stepper.hpp"
#include "vmm/symbols.hpp"

namespace hvtrace {

struct StepOutcome {
  std::string message; // to show below the screen; empty for none
  bool quit = false;
};

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
