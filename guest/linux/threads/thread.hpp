// SPDX-License-Identifier: MIT
// A thread of the program.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/signals/signals.hpp"
#include "guest/linux/threads/context.hpp"

namespace guest::linux {

struct Process; // what threads share; its own are its threads

struct Thread {
  Thread(std::int32_t number, Process* whose, SignalActions& actions, PendingSignals& shared,
         std::unique_ptr<Context> machine)
      : id(number), process(whose), signals(actions, shared), context(std::move(machine)) {}
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // That of the program at `path`.
  void set_name(std::string_view path) {
    const std::string_view base = path.substr(path.rfind('/') + 1); // npos + 1 is 0
    name = {};
    std::ranges::copy(base.substr(0, name_bytes - 1), name.begin());
  }

  std::int32_t id; // what gettid answers; changes when it runs another program
  Process* const process;
  static constexpr std::size_t name_bytes = 16; // with a NUL
  std::array<char, name_bytes> name{};          // of prctl(PR_SET_NAME)
  Signals signals;
  const std::unique_ptr<Context> context;

  std::uint64_t clear_at_end = 0; // address of its number, for who waits for its end; 0: none
  std::uint64_t robust_list = 0;  // address (set_robust_list); 0: none
  bool is_to_end = false;         // instead of going back to the program
  bool handler_returns = false;   // by the call at hand
  // The call at hand was interrupted before it did anything: it is made again behind a handler that
  // wants that (SA_RESTART), and where there is none.
  std::optional<std::uint64_t> interrupted;
  bool awaits_children = false; // to end
  SignalSet awaited = 0;        // the call at hand waits for these
  // What the call at hand has waited for; let go behind it.
  std::vector<std::shared_ptr<const void>> held;
  std::uint64_t used_ns = 0; // of the processor; without the time since it runs

  // The scheduler's.
  enum class State : std::uint8_t { ready, running, waiting, ended };
  State state = State::ready;
  bool is_held = false; // it does not run, be it ready
  bool watches = false; // files, while it waits
  std::uint64_t deadline_ns = Machine::never;
  unsigned vcpu = 0; // where it runs, or ran last
  std::uint64_t ready_since_ns = 0;
  Thread* next = nullptr; // of those that are ready
};

} // namespace guest::linux
