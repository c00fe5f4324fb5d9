// SPDX-License-Identifier: MIT
#include "vmm/repetition.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/io/write_all.hpp"

namespace vmm {
namespace {

// What was handed over; nothing when that is not whole.
std::optional<RepeatedRun> take_over(std::string_view bytes) {
  RepeatedRun run;
  run.values.resize(figures().size());
  const std::size_t front = run.values.size() * sizeof(double);
  if (bytes.size() <= front) {
    return std::nullopt;
  }
  std::memcpy(run.values.data(), bytes.data(), front);
  run.stats = bytes.substr(front);
  return run;
}

// What a user sends, as a descriptor: this process waits for one that is to hear of it, and ends
// after that. Signals that are ignored stay so, here and there.
class PassedSignals {
 public:
  static Result<PassedSignals> create() {
    PassedSignals signals;
    sigset_t set{};
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR2}) {
      struct sigaction action {};
      ::sigaction(signal, nullptr, &action);
      if (action.sa_handler != SIG_IGN) {
        sigaddset(&set, signal);
      }
    }
    signals.fd_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals.fd_.valid()) {
      return system_error("signalfd");
    }
    ::pthread_sigmask(SIG_BLOCK, &set, &signals.previous_);
    return signals;
  }

  PassedSignals(PassedSignals&& other) noexcept = default;
  PassedSignals& operator=(PassedSignals&&) = delete;
  PassedSignals(const PassedSignals&) = delete;
  PassedSignals& operator=(const PassedSignals&) = delete;
  ~PassedSignals() { release(); }

  // They have their effect again.
  void release() {
    if (fd_.valid()) { // not moved from
      ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
      fd_ = UniqueFd();
    }
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  // Hands on what has come; true when that asks for the end.
  [[nodiscard]] bool pass_to(pid_t process) const {
    bool end = false;
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      const int signal = static_cast<int>(info.ssi_signo);
      ::kill(process, signal);
      end = end || signal != SIGUSR2;
    }
    return end;
  }

 private:
  PassedSignals() = default;

  UniqueFd fd_;
  sigset_t previous_{};
};

// All that comes until the other end is closed. Signals are handed to `process`.
std::string read_all(const UniqueFd& from, const PassedSignals& signals, pid_t process,
                     bool& asked_to_end) {
  std::string bytes;
  while (true) {
    std::array<pollfd, 2> events{{{from.get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0) {
      continue; // a signal
    }
    asked_to_end = signals.pass_to(process) || asked_to_end;
    if (events[0].revents == 0) {
      continue;
    }
    std::array<char, 65536> piece{};
    const ssize_t got = ::read(from.get(), piece.data(), piece.size());
    if (got == 0 || (got < 0 && errno != EINTR)) {
      return bytes;
    }
    bytes.append(piece.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  }
}

int exit_status_of(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int by_signal = 128; // as a shell tells it
  return WIFEXITED(status) ? WEXITSTATUS(status) : by_signal + WTERMSIG(status);
}

} // namespace

Result<Repetition> repeat(std::size_t times, const std::function<int(UniqueFd results)>& run) {
  Repetition repetition;
  bool asked_to_end = false;
  EBB_TRY_ASSIGN(signals, PassedSignals::create());
  while (repetition.runs.size() < times && !asked_to_end) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return system_error("pipe");
    }
    UniqueFd from(ends[0]);
    UniqueFd to(ends[1]);
    std::fflush(nullptr); // or both processes would write what waits
    const pid_t self = ::getpid();
    const pid_t process = ::fork();
    if (process < 0) {
      return system_error("cannot start a process for a run");
    }
    if (process == 0) {
      from = UniqueFd();
      signals.release();
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      std::exit(::getppid() == self ? run(std::move(to)) : EXIT_FAILURE);
    }
    to = UniqueFd();
    std::optional<RepeatedRun> result = take_over(read_all(from, signals, process, asked_to_end));
    repetition.exit_status = exit_status_of(process);
    if (repetition.exit_status == 0 && !result) {
      constexpr int host_failed = 4;
      repetition.exit_status = host_failed;
    }
    if (repetition.exit_status != 0) {
      break;
    }
    repetition.runs.push_back(std::move(*result));
  }
  return repetition;
}

Result<void> hand_over(const RepeatedRun& run, const UniqueFd& results) {
  // Justified: numbers as bytes, for this very program.
  std::string bytes(reinterpret_cast<const char*>(run.values.data()),
                    run.values.size() * sizeof(double));
  bytes += run.stats;
  const int error = write_all(results.get(), bytes);
  return error == 0 ? Result<void>{}
                    : environment_error("--repeat: results: {}", errno_text(error));
}

} // namespace vmm
