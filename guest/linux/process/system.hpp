// SPDX-License-Identifier: MIT
// A Linux program and the kernel that it sees: loads it, answers its threads' calls, and says where
// they go on. Pure but for the interfaces that it is made of (SystemParts).
//
// The way of a call: answer() has it done by the member function that the table of calls.cpp names
// (program_calls.hpp); then catch_up() takes what has come meanwhile; and where is_diverted() says
// so, go_on() changes the registers that the thread goes on with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/linux/process/program_calls.hpp"
#include "guest/linux/signals/registers.hpp"

namespace guest::linux {

class System final : private ProgramCalls {
 public:
  using ProgramCalls::ProgramCalls;

  // Loads the program, and its dynamic linker if it has one. `break_start` is where the break of
  // it, and of every program that follows it, goes. An error number as of execve.
  [[nodiscard]] Or<ProgramEntry> load(std::uint64_t break_start);

  // Of several vCPUs this one has come into the kernel, by a call, a fault or a trap.
  void note_vcpu() { scheduler_.note_vcpu(machine_.vcpu()); }
  // The life of every other vCPU, on a stack of its own: it runs threads.
  [[noreturn]] void serve() { scheduler_.serve(); }

  [[nodiscard]] Answer answer(const Call& call);
  // What a thread does first that a call has made.
  void begin_thread();
  // Behind each call, and when a timer or the host interrupts the program: takes signals that have
  // come from outside, and those of timers that have run out, and lets other threads run.
  void catch_up();

  // After a call by a SYSCALL that ends at `behind`: where to return to, so that the next call from
  // there costs less.
  [[nodiscard]] std::uint64_t patch_site(std::uint64_t behind);
  // Where to go on after an illegal instruction that patching has put there; empty: the program's.
  [[nodiscard]] std::optional<std::uint64_t> resume_site(std::uint64_t address) const {
    return self().memory->sites.resume(address);
  }

  // Whether the thread is to go on elsewhere than behind its call: go_on() then says where.
  using ProgramCalls::is_diverted;
  // Whether there is nothing to go back to: an execve has replaced the program.
  [[nodiscard]] bool is_followed() const { return self().follower.has_value(); }
  // After a call or a fault: into a handler, back out of one, or into the next program.
  void go_on(Registers& registers, const ExtendedState& state);
  // Whether something is to interrupt the program's own code: a signal for a handler, or that is
  // the program's end but what is open for writing is written out before, or other processes know
  // of it; other threads.
  [[nodiscard]] bool wants_interrupts() const {
    return machine_.vcpus() != 1 || !contents_.is_empty() || processes_.size() > 1 ||
           scheduler_.has_watchers() || scheduler_.next_tick_ns() != Machine::never ||
           std::ranges::any_of(processes_,
                               [](const auto& one) { return may_be_interrupted(*one); });
  }
  // Before the guest ends for another reason than the program's call: what the program has written
  // goes where it belongs. The exit status to end with.
  using ProgramCalls::leave;
  // An instruction faulted. False: the program has no handler for it and is to end.
  [[nodiscard]] bool take_fault(SignalCause cause);
  // That end.
  [[noreturn]] void end_by_fault(std::uint64_t signal) { end_by_signal(self(), signal); }
  // Whether it is the process for whose sake the guest is there.
  [[nodiscard]] bool is_first_running() const { return is_first(self()); }

  // The working directory that was asked for, if it is not there: the program begins in the root.
  [[nodiscard]] std::string_view missing_directory() const { return missing_directory_; }
  [[nodiscard]] std::string_view program_path() const { return view(self().command.path); }
  // What was opened last to be run: the program, its interpreter, or its dynamic linker.
  [[nodiscard]] std::string_view loaded_path() const { return loader_.opened_path(); }
  [[nodiscard]] AddressSpace& memory() { return memory_; }

 private:
  // Takes signals and ready files that have come from outside; whether there were any.
  bool look_outside();
  // With every call: what is open for writing stays within its bounds.
  void tend_files();
  // Behind a call: goes on where it is made.
  void call_again(Registers& registers, std::uint64_t number) const;
  void push_handler(Registers& registers, const ExtendedState& state, const Signals::Taken& taken);
  [[nodiscard]] bool pop_handler(Registers& registers, const ExtendedState& state);
  void restore_alternate_stack(AlternateStack stack, std::uint64_t stack_pointer);
};

} // namespace guest::linux
