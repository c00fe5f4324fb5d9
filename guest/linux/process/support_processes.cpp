// SPDX-License-Identifier: MIT
// Processes: which there are, what they use, and how one that is not the first ends.
#include <sys/wait.h>

#include <algorithm>
#include <cassert>
#include <csignal>
#include <utility>

#include "guest/linux/process/call_support.hpp"

namespace guest::linux {

Process* CallSupport::find_process(std::int64_t id) const {
  const auto found = std::ranges::find_if(
      processes_, [id](const auto& process) { return process->id == id && !process->wait_status; });
  return found == processes_.end() ? nullptr : found->get();
}

Thread* CallSupport::find_thread(std::int64_t id) const {
  Thread* const thread = scheduler_.find(id);
  return thread != nullptr && thread->process == &self() ? thread : nullptr;
}

bool CallSupport::is_alone() const {
  return std::ranges::count(scheduler_.threads(), &self(),
                            [](const auto& thread) { return thread->process; }) == 1;
}

std::uint64_t CallSupport::used_ns(const Process& process) const {
  std::uint64_t used = process.used_by_ended_ns;
  for_each_thread(process, [&](const Thread& thread) { used += scheduler_.used_ns(thread); });
  return used;
}

std::uint64_t CallSupport::waiting_place(std::uint64_t address) const {
  constexpr unsigned address_bits = 47;
  constexpr unsigned offset_bits = 40;
  constexpr std::uint64_t is_of_file = std::uint64_t{1} << 63;
  const Content content = memory_.content_at(address);
  return content.is_shared()
             ? is_of_file | std::uint64_t{content.file} << offset_bits |
                   (content.offset & ((std::uint64_t{1} << offset_bits) - 1))
             : address | std::uint64_t{self().memory->occupant.number} << address_bits;
}

// Memory is that of the process whose thread runs.
void CallSupport::enter(const Thread& next) {
  Occupant& occupant = next.process->memory->occupant;
  const bool is_forked = occupant.family != nullptr;
  const std::uint64_t began_ns = is_forked ? machine_.now_ns() : 0;
  [[maybe_unused]] const int error = memory_.enter(occupant);
  assert(error == 0); // it was there before
  last_change_ns_ = is_forked ? machine_.now_ns() - began_ns : 0;
  forget_ended(*next.process);
}

// Where memory has to change hands, that is to be a small part of it.
std::uint64_t CallSupport::slice_ns() const {
  constexpr std::uint64_t usual_ns = 4'000'000;
  constexpr std::uint64_t part = 16;
  return usual_ns + part * last_change_ns_;
}

void CallSupport::forget_ended(const Process& runs) {
  const auto is_over = [&](const auto& process) {
    return process->is_waited_for && process.get() != &runs && !scheduler_.is_anywhere(*process);
  };
  if (std::erase_if(processes_, is_over) != 0) {
    machine_.set_handled_signals(handled_signals());
  }
}

void CallSupport::renew_memory(Process& process) {
  std::shared_ptr<ProcessMemory> next = make_memory();
  [[maybe_unused]] const int error = memory_.enter(next->occupant);
  assert(error == 0);               // it has nothing in the window yet
  process.memory = std::move(next); // what it was goes now, if nobody else has it
}

void CallSupport::release_maker(Process& process) {
  if (process.made_by != nullptr) {
    scheduler_.wake(*std::exchange(process.made_by, nullptr));
  }
}

void CallSupport::end_process(int wait_status) {
  Process& process = self();
  Thread& thread = scheduler_.running();
  assert(is_alone() && !is_first(process));
  tell_end_of(thread);
  for (std::uint64_t descriptor = 0; descriptor < process.files.end(); ++descriptor) {
    const std::shared_ptr<OpenFile> file = process.files.share(descriptor);
    const int error = file == nullptr ? 0 : process.files.remove(descriptor);
    if (error != 0) {
      complain(view(file->path), error);
    }
  }
  renew_memory(process); // as long as the thread runs it is somewhere
  process.used_by_ended_ns = used_ns(process);
  process.wait_status = wait_status;
  process.change.reset();
  release_maker(process);
  for (const auto& child : processes_) {
    if (child->parent == process.id) {
      child->parent = 0; // nobody waits for it
      child->is_waited_for = child->wait_status.has_value();
    }
  }
  tell_parent(process);
  thread.signals.set_blocked(~SignalSet{0}); // it takes none any more
  machine_.set_handled_signals(handled_signals());
  scheduler_.wake_watchers(); // what it had open may have an end now
  scheduler_.end_running();
  std::unreachable();
}

// As wait(2) has it, who does not want to know need not wait.
void CallSupport::tell_parent(Process& process) {
  Process* const parent = find_process(process.parent);
  if (parent == nullptr) {
    process.is_waited_for = true;
    return;
  }
  const SignalAction& action = parent->actions.of(SIGCHLD);
  process.is_waited_for =
      process.end_signal == SIGCHLD &&
      (action.handler == SignalAction::ignore || (action.flags & SA_NOCLDWAIT) != 0);
  const int status = *process.wait_status;
  if (process.end_signal != 0) {
    send_to_any(*parent, {.signal = process.end_signal,
                          .code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED,
                          .process = process.id,
                          .user = process.credentials.ids(Credentials::Kind::user).real,
                          .value = static_cast<std::uint64_t>(
                              WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status))});
  }
  wake_for_children(*parent);
}

} // namespace guest::linux
