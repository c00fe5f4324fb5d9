// SPDX-License-Identifier: MIT
// One program instead of another.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

Or<ProgramEntry> ProgramCalls::become(FoundProgram& found) {
  Process& process = self();
  // A break in RAM needs no page tables; there is one such place.
  const std::uint64_t break_start =
      is_first(process) ? break_start_ : memory_.open_break(process.memory->occupant);
  const Or<ProgramEntry> entry = loader_.load(found, break_start);
  process.memory->stack_start = entry ? entry->stack_start : 0;
  self().command = std::move(found.command);
  self().executable = std::move(found.place);
  self().traits.begin();
  scheduler_.running().set_name(view(self().executable));
  if (entry && (start_.watched & abi::watched_by_debugger) != 0) {
    memory_.populate_files(); // breakpoints need the pages that they are in
  }
  return entry;
}

// What a program leaves to the one that follows it: its files but for those that are to be closed,
// what is blocked and ignored and waits, and where it is.
Answer ProgramCalls::execute(Command command, std::string_view directory) {
  Or<FoundProgram> found = loader_.find(std::move(command), directory);
  if (!found) {
    return -Answer{found.error()};
  }
  if (!end_others()) {
    return -EINTR;
  }
  renew_memory(self());
  release_maker(self());
  self().has_executed = true;
  for (std::uint64_t descriptor = 0; descriptor < self().files.end(); ++descriptor) {
    if (self().files.closes_on_exec(descriptor)) {
      static_cast<void>(self().files.remove(descriptor));
    }
  }
  self().actions.forget_handlers();
  Thread& thread = scheduler_.running();
  thread.signals.alternate_stack = {};
  thread.id = self().id;
  thread.clear_at_end = 0;
  thread.robust_list = 0;
  self().timers.remove_made();
  machine_.set_handled_signals(handled_signals());
  machine_.set_thread_pointer(0);
  const Or<ProgramEntry> entry = become(*found);
  if (!entry) {
    end_by_signal(self(), SIGKILL); // there is nothing to go back to, as in Linux
  }
  self().follower = *entry;
  return 0;
}

Answer ProgramCalls::sys_execve(const Args& args) {
  return sys_execveat({here, args[0], args[1], args[2], 0, 0});
}

Answer ProgramCalls::sys_execveat(const Args& args) {
  const auto [directory, path, arguments, environment, flags, unused] = args;
  if ((flags & ~std::uint64_t{AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW}) != 0) {
    return -EINVAL;
  }
  const Or<std::string_view> name = user_.path_at(path);
  if (!name) {
    return -Answer{name.error()};
  }
  Command command;
  Text base = self().directory;
  if (static_cast<std::int32_t>(directory) != AT_FDCWD && !name->starts_with('/')) {
    const OpenFile* const file = file_at(directory);
    if (file == nullptr) {
      return -EBADF;
    }
    base = view(file->path) == "/" ? Text{} : file->path;
    if (!name->empty() && !file->file->is_folder()) {
      return -ENOTDIR;
    }
  }
  if (name->empty()) {
    if ((flags & AT_EMPTY_PATH) == 0 || static_cast<std::int32_t>(directory) == AT_FDCWD) {
      return -ENOENT;
    }
    command.path = base; // by its name: what has none any more cannot be run
  } else {
    command.path = to_text(*name);
  }
  if ((flags & AT_SYMLINK_NOFOLLOW) != 0) {
    const Or<Place> place = tree_.walk(view(base), view(command.path), Last::keep);
    if (place && place->stat && S_ISLNK(place->stat->mode)) {
      return -ELOOP;
    }
  }
  std::uint64_t bytes = abi::max_program_string_bytes;
  int error = user_.add_strings(arguments, command.arguments, command.argument_count, bytes);
  if (error == 0) {
    error = user_.add_strings(environment, command.environment, command.environment_count, bytes);
  }
  if (error != 0) {
    return -Answer{error};
  }
  if (command.argument_count == 0) { // as Linux has it since 5.18
    command.arguments.push_back('\0');
    command.argument_count = 1;
  }
  return execute(std::move(command), view(base));
}

} // namespace guest::linux
