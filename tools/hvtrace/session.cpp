// SPDX-License-Identifier: MIT
#include "tools/hvtrace/session.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>

#include "tools/hvtrace/screen.hpp"
#include "tools/hvtrace/step_commands.hpp"

namespace hvtrace {
namespace {

constexpr char escape = '\x1b';

void write_out(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout));
  static_cast<void>(std::fflush(stdout));
}

// Keys one by one, not echoed; the terminal is put back at the end.
class RawTerminal {
 public:
  RawTerminal() {
    ::tcgetattr(STDIN_FILENO, &saved_);
    termios raw = saved_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    write_out("\x1b[?1049h");
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    write_out("\x1b[?1049l");
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_);
  }

  // The next key; arrows come as j and k, page keys as f and b, the end of input as q.
  static char key() {
    char first = 'q';
    if (::read(STDIN_FILENO, &first, 1) != 1) {
      return 'q';
    }
    if (first != escape) {
      return first;
    }
    char sequence[2] = {};
    if (::read(STDIN_FILENO, sequence, 2) != 2 || sequence[0] != '[') {
      return 'h';
    }
    switch (sequence[1]) {
    case 'A':
      return 'k';
    case 'B':
      return 'j';
    case '5':
    case '6': {
      char tilde = 0;
      static_cast<void>(::read(STDIN_FILENO, &tilde, 1) == 1);
      return sequence[1] == '5' ? 'b' : 'f';
    }
    default:
      return 'h';
    }
  }

  // The rest of a command that wants an argument, edited with backspace.
  static std::string argument(char command) {
    std::string text;
    for (;;) {
      write_out("\r\x1b[K" + std::string(1, command) + " " + text);
      char key = '\n';
      if (::read(STDIN_FILENO, &key, 1) != 1 || key == '\n' || key == '\r') {
        return text;
      }
      if ((key == '\b' || key == '\x7f') && !text.empty()) {
        text.pop_back();
      } else if (key >= ' ' && key != '\x7f') {
        text += key;
      }
    }
  }

  static ScreenSize size() {
    winsize window{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) {
      return {};
    }
    return {.columns = window.ws_col, .rows = window.ws_row - 1U};
  }

 private:
  termios saved_{};
};

bool wants_argument(char command) {
  return std::string_view("uU/?gw").find(command) != std::string_view::npos;
}

void run_terminal(Stepper& stepper, StepCommands& commands, const EventText& text) {
  const RawTerminal terminal;
  std::string message = "h for help";
  for (;;) {
    // A message longer than a line (help, why) takes the screen.
    const bool is_long = message.find('\n') != std::string::npos;
    write_out("\x1b[2J\x1b[H" +
              (is_long ? message + "(any key)"
                       : render_screen(stepper, text, RawTerminal::size()) + message));
    const char key = RawTerminal::key();
    if (is_long) {
      message.clear();
      continue;
    }
    std::string line(1, key == '\n' ? 's' : key);
    if (wants_argument(key)) {
      line += RawTerminal::argument(key);
    }
    StepOutcome outcome = commands.execute(line);
    if (outcome.quit) {
      return;
    }
    message = std::move(outcome.message);
  }
}

void run_script(Stepper& stepper, StepCommands& commands, const EventText& text) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const StepOutcome outcome = commands.execute(line);
    if (outcome.quit) {
      return;
    }
    write_out("(" + line + ")\n" + render_screen(stepper, text, {}));
    if (!outcome.message.empty()) {
      write_out(outcome.message + (outcome.message.ends_with('\n') ? "" : "\n"));
    }
  }
}

} // namespace

vmm::Result<int> run_session(const TraceSource& source, const vmm::Symbols& symbols) {
  Stepper stepper(source);
  StepCommands commands(stepper, symbols);
  const EventText text(source.header(), &symbols);
  if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) {
    run_terminal(stepper, commands, text);
  } else {
    run_script(stepper, commands, text);
  }
  return 0;
}

} // namespace hvtrace
