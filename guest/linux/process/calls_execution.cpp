// SPDX-License-Identifier: MIT
// One program instead of another.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "guest/linux/process/process.hpp"

namespace guest::linux {

Answer Process::sys_execve(const Args& args) {
  constexpr int here = AT_FDCWD;
  return sys_execveat({static_cast<std::uint64_t>(here), args[0], args[1], args[2], 0, 0});
}

Answer Process::sys_execveat(const Args& args) {
  const auto [directory, path, arguments, environment, flags, unused] = args;
  if ((flags & ~std::uint64_t{AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW}) != 0) {
    return -EINVAL;
  }
  const Or<std::string_view> name = user_.path_at(path);
  if (!name) {
    return -Answer{name.error()};
  }
  Command command;
  Text base = directory_;
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
