// SPDX-License-Identifier: MIT
// The signals that the vmm acts on, as a descriptor instead of handlers while the guest runs.
//
// Whatever asks a process to end, and would end it without a word, ends the guest in order instead:
// SIGINT, SIGTERM, SIGHUP, SIGQUIT, and SIGALRM, SIGXCPU, SIGRTMIN and their like. Signals that a
// program raises by a fault of its own keep their effect.
//
// Once the guest has ended, what is left should take no time. A signal that comes then is a wish to
// hurry, and ends the process only when a second has passed since the first one: two in a row, as
// timeout(1) sends them, are one wish.
#pragma once

#include <csignal>
#include <cstdint>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class BlockedSignals {
 public:
  // Switches reporting off and on.
  static constexpr int toggle = SIGUSR2;

  // Whether SIGWINCH and SIGCONT are taken, too: a terminal has another size, or was somebody
  // else's meanwhile. Left alone they keep their effect.
  // `programs`: SIGTSTP, too, which a program may want to handle.
  enum class Terminal : std::uint8_t { left_alone, watched, programs };

  // Blocks the ending signals and `toggle` for the calling thread and every thread that it starts
  // afterwards, so make it before any other: one thread that does not block them would be ended by
  // them, and with it the process. Signals that the process was started ignoring stay ignored
  // (nohup); SIGINT, SIGQUIT and SIGTERM only when the terminal sends them, because a shell starts
  // what is in the background that way. One in a process.
  static Result<BlockedSignals> create(Terminal terminal);
  BlockedSignals(BlockedSignals&& other) noexcept = default;
  BlockedSignals& operator=(BlockedSignals&&) = delete;
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals(); // restores the mask of the calling thread

  // Readable when a signal has arrived.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // The signal that arrived; 0 if none.
  [[nodiscard]] int take() const;
  [[nodiscard]] static bool is_ending(int signal);
  // Does what SIGTSTP would have done, if that is taken; returns when the process goes on.
  static void stop_process();
  // Such as SIGINT.
  [[nodiscard]] static std::string name_of(int signal);

  // From now on an ending signal makes late_fd() readable, and ends the process with status 128 +
  // its number if the first wish is a second old.
  static void let_through();
  // What is done before it ends the process so; only what a signal handler may do.
  static void before_hurried_end(void (*function)());
  [[nodiscard]] int late_fd() const { return late_.get(); }

 private:
  BlockedSignals(UniqueFd fd, UniqueFd late, const sigset_t& ignored, const sigset_t& previous)
      : fd_(std::move(fd)), late_(std::move(late)), ignored_(ignored), previous_(previous) {}

  UniqueFd fd_;
  UniqueFd late_;
  sigset_t ignored_; // of those in fd_, by the terminal's
  sigset_t previous_;
};

} // namespace vmm
