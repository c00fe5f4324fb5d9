// SPDX-License-Identifier: MIT
#include "tools/hvtrace/session.hpp"

#include "vmm/trace/event_text.hpp"
#include "vmm/trace/step_console.hpp"

namespace hvtrace {

vmm::Result<int> run_session(const TraceSource& source, const vmm::Symbols& symbols) {
  Stepper stepper(source);
  StepCommands commands(stepper, symbols);
  const EventText text(source.header(), &symbols);
  StepConsole console;
  console.run({.screen = [&](ScreenSize size) { return render_screen(stepper, text, size); },
               .execute = [&](std::string_view line) { return commands.execute(line); },
               .opening = {}});
  return 0;
}

} // namespace hvtrace
