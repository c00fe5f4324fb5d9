// SPDX-License-Identifier: MIT
#include "vmm/trace/step_console.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fmt/core.h>

#include "vmm/io/raw_terminal.hpp"
#include "vmm/io/terminal.hpp"

namespace hvtrace {
namespace {

constexpr char escape = '\x1b';

void write_out(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout));
  static_cast<void>(std::fflush(stdout));
}

ScreenSize screen_size() {
  const auto size = vmm::RawTerminal::size();
  // The last row is the message's.
  return size.rows == 0 ? ScreenSize{} : ScreenSize{.columns = size.columns, .rows = size.rows - 1};
}

bool wants_argument(char command) {
  return std::string_view("uU/?gwxDFT:").find(command) != std::string_view::npos;
}

} // namespace

// Without one (the host is out of descriptors) keys still work.
StepConsole::StepConsole() : terminal_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

StepConsole::End StepConsole::run(const StepLoop& loop, int stop_fd) {
  stop_fd_ = stop_fd;
  stopped_ = false;
  const bool has_screen =
      ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1 && vmm::terminal_obeys_escapes();
  return has_screen ? run_terminal(loop) : run_script(loop);
}

// Empty at the end of input, and when stopped.
std::optional<char> StepConsole::next_character() {
  while (input_at_ == input_.size()) {
    // A negative descriptor is not waited for.
    std::array<pollfd, 3> events{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0},
                                 pollfd{terminal_ ? terminal_event_.get() : -1, POLLIN, 0}};
    if (::poll(events.data(), events.size(), -1) < 0) {
      continue; // a signal
    }
    if (events[1].revents != 0) {
      stopped_ = true;
      return std::nullopt;
    }
    if (events[2].revents != 0) {
      terminal_->take_event();
      redraw_();
      continue;
    }
    std::array<char, 4096> piece{};
    const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
      continue;
    }
    if (count <= 0) {
      return std::nullopt;
    }
    input_.assign(piece.data(), static_cast<std::size_t>(count));
    input_at_ = 0;
  }
  return input_[input_at_++];
}

// The last line may lack its newline.
std::optional<std::string> StepConsole::next_line() {
  std::string line;
  for (;;) {
    const auto character = next_character();
    if (!character) {
      return line.empty() || stopped_ ? std::nullopt : std::optional(line);
    }
    if (*character == '\n') {
      return line;
    }
    line += *character;
  }
}

// Arrows come as j and k, page keys as f and b.
std::optional<char> StepConsole::next_key() {
  const auto first = next_character();
  if (first != escape) {
    return first;
  }
  if (next_character() != '[') {
    return 'h';
  }
  const auto last = next_character();
  if (last == 'A' || last == 'B') {
    return last == 'A' ? 'k' : 'j';
  }
  if (last == '5' || last == '6') {
    static_cast<void>(next_character()); // a tilde
    return last == '5' ? 'b' : 'f';
  }
  return 'h';
}

// The rest of a command that wants an argument, edited with backspace.
std::optional<std::string> StepConsole::argument(char command) {
  std::string text;
  const auto draw = [&] { write_out("\r\x1b[K" + std::string(1, command) + " " + text); };
  const auto redraw_screen = std::exchange(redraw_, {});
  // cppcheck-suppress danglingLifetime ; redraw_ is emptied before what it uses goes
  redraw_ = [&] {
    redraw_screen();
    draw();
  };
  for (;;) {
    draw();
    const auto key = next_character();
    if (!key) {
      return std::nullopt;
    }
    if (*key == '\n' || *key == '\r') {
      return text;
    }
    if ((*key == '\b' || *key == '\x7f') && !text.empty()) {
      text.pop_back();
    } else if (*key >= ' ' && *key != '\x7f') {
      text += *key;
    }
  }
}

StepConsole::End StepConsole::run_terminal(const StepLoop& loop) {
  terminal_.emplace(terminal_event_.get());
  const End end = follow_keys(loop);
  redraw_ = {};
  terminal_.reset();
  return end;
}

StepConsole::End StepConsole::follow_keys(const StepLoop& loop) {
  std::string message = loop.opening.empty() ? "h for help" : loop.opening;
  bool is_opening = true; // which is below its screen even if it has several lines
  for (;;) {
    // A message longer than a line (help, why) takes the screen.
    const bool is_long = !is_opening && message.find('\n') != std::string::npos;
    // cppcheck-suppress danglingLifetime ; redraw_ is emptied before what it uses goes
    redraw_ = [&loop, &message, is_long] {
      write_out("\x1b[2J\x1b[H" +
                (is_long ? message + "(any key)" : loop.screen(screen_size()) + message));
    };
    redraw_();
    is_opening = false;
    const auto key = next_key();
    if (!key) {
      return stopped_ ? End::stopped : End::input_over;
    }
    if (is_long) {
      message.clear();
      continue;
    }
    std::string line(1, *key == '\n' ? 's' : *key);
    if (wants_argument(*key)) {
      const auto rest = argument(*key);
      if (!rest) {
        return stopped_ ? End::stopped : End::input_over;
      }
      // After a colon comes a whole command, as in a script.
      line = *key == ':' ? *rest : fmt::format("{} {}", *key, *rest);
    }
    StepOutcome outcome = loop.execute(line);
    if (outcome.quit || outcome.resume) {
      return outcome.quit ? End::quit : End::resumed;
    }
    message = std::move(outcome.message);
  }
}

StepConsole::End StepConsole::run_script(const StepLoop& loop) {
  const auto show = [&loop](const std::string& message) {
    write_out(loop.screen({}));
    if (!message.empty()) {
      write_out(message + (message.ends_with('\n') ? "" : "\n"));
    }
  };
  if (!loop.opening.empty()) {
    show(loop.opening);
  }
  while (const auto line = next_line()) {
    const StepOutcome outcome = loop.execute(*line);
    if (outcome.quit) {
      return End::quit;
    }
    write_out("(" + *line + ")\n");
    if (outcome.resume) {
      return End::resumed;
    }
    show(outcome.message);
  }
  return stopped_ ? End::stopped : End::input_over;
}

} // namespace hvtrace
