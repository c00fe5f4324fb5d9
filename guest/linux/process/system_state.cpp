// SPDX-License-Identifier: MIT
#include "guest/linux/process/system_state.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>

#include "guest/linux/files/host_stream.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t temporary_device = 2;
constexpr std::uint64_t shared_device = 6;

// Takes the first string, without its NUL, off `strings`.
std::string_view next_string(std::string_view& strings) {
  const std::string_view text = strings.substr(0, strings.find('\0'));
  strings.remove_prefix(std::min(strings.size(), text.size() + 1));
  return text;
}

// The first `count` strings with their NULs, off `strings`.
std::string_view next_strings(std::string_view& strings, std::uint32_t count) {
  const std::string_view all = strings;
  for (; count != 0; --count) {
    static_cast<void>(next_string(strings));
  }
  return all.substr(0, all.size() - strings.size());
}

// In what is memory of the guest's: where a bind is, folders are that a program can use.
void make_folders_above(std::string_view mount, MemoryFiles& temporary) {
  constexpr std::string_view place = "/tmp";
  if (!mount.starts_with(place) || !mount.substr(place.size()).starts_with('/')) {
    return;
  }
  const std::string_view inside = mount.substr(place.size());
  for (std::size_t slash = inside.find('/', 1); slash != std::string_view::npos;
       slash = inside.find('/', slash + 1)) {
    // It may be there already, and a name that is too long is told when it is used.
    static_cast<void>(temporary.make_folder(inside.substr(0, slash), 0755));
  }
}

// The descriptor of the first stream that is a terminal.
std::optional<std::uint32_t> terminal_of(const OpenFiles& files) {
  for (std::uint32_t number = 0; number < HostStream::count; ++number) {
    const OpenFile* const file = files.get(number);
    if (file != nullptr && file->file->terminal() != nullptr) {
      return number;
    }
  }
  return std::nullopt;
}

// The first process, with the streams that the host has for it.
std::vector<std::unique_ptr<Process>> make_first(const abi::ProgramStart& start, FilePort& port,
                                                 std::shared_ptr<ProcessMemory> memory) {
  std::vector<std::unique_ptr<Process>> processes;
  const auto& process = processes.emplace_back(std::make_unique<Process>(
      process_id, std::move(memory), Credentials(start.user, start.group)));
  process->parent = process_id - 1;
  process->group = process_id;
  process->session = process_id;
  for (std::uint32_t number = 0; number < HostStream::count; ++number) {
    if (((start.closed_streams >> number) & 1) != 0) {
      continue;
    }
    auto stream = std::make_unique<HostStream>(port, number);
    const bool is_terminal = stream->terminal() != nullptr;
    static_cast<void>(process->files.add(
        std::make_unique<OpenFile>(stream.release(), std::uint32_t{O_RDWR},
                                   is_terminal ? to_text(terminal_path) : Text{}),
        static_cast<int>(number)));
  }
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    if ((start.ignored_signals & set_of(signal)) != 0) {
      process->actions.set(signal, {.handler = SignalAction::ignore});
    }
  }
  return processes;
}

} // namespace

SystemState::SystemState(const SystemParts& parts)
    : start_(parts.start), machine_(parts.machine), views_(areas_, parts.tables), mapped_(views_),
      cache_pages_(parts.frames), contents_(cache_pages_, parts.machine, mapped_),
      frames_(parts.frames, contents_),
      memory_(frames_, parts.tables, areas_, mapped_, parts.zones), user_(memory_),
      files_(memory_, parts.files), random_(files_), pages_(frames_),
      host_to_read_(files_, parts.machine, contents_, HostFiles::Use::read_only),
      host_to_change_(files_, parts.machine, contents_, HostFiles::Use::changed),
      temporary_(pages_, mapped_, *this, {parts.start.user, parts.start.group}, temporary_device),
      shared_(pages_, mapped_, *this, {parts.start.user, parts.start.group}, shared_device),
      sockets_(parts.sockets == nullptr
                   ? std::nullopt
                   : std::optional<TranslatedSockets>(std::in_place, memory_, *parts.sockets)),
      network_(sockets_ ? &*sockets_ : nullptr), enter_(parts.enter),
      loader_({.tree = tree_,
               .memory = memory_,
               .mapped = mapped_,
               .port = files_,
               .vdso = parts.vdso,
               .user = parts.start.user,
               .group = parts.start.group,
               .tells_code = (parts.start.watched & abi::watched_by_profile) != 0}),
      processes_(make_first(parts.start, files_, make_memory())), alarms_(parts.machine.vcpus()),
      contexts_(parts.contexts),
      scheduler_(parts.machine, parts.contexts, *this,
                 std::make_unique<Thread>(process_id, &first(), first().actions, first().pending,
                                          parts.contexts.first())),
      futexes_(scheduler_), synthetic_({.process = *this,
                                        .user = parts.start.user,
                                        .group = parts.start.group,
                                        .machine = machine_,
                                        .pages = pages_,
                                        .port = files_,
                                        .memory = memory_,
                                        .tree = tree_,
                                        .terminal = terminal_of(first().files)}) {
  const abi::ProgramStart& start = parts.start;
  std::string_view strings = parts.strings;
  [[maybe_unused]] const int entered = memory_.enter(first().memory->occupant);
  assert(entered == 0); // nobody was there
  Command& command = first().command;
  command.path = to_text(next_string(strings));
  const std::string_view directory = next_string(strings);
  command.arguments = to_text(next_strings(strings, start.arguments));
  command.argument_count = start.arguments;
  command.environment = to_text(next_strings(strings, start.environment));
  command.environment_count = start.environment;
  tree_.mount("", host_to_read_, FileTree::Paths::whole);
  for (const std::string_view place : {"/dev", "/proc", "/sys"}) {
    tree_.mount(place, synthetic_, FileTree::Paths::whole);
  }
  tree_.mount("/tmp", temporary_, FileTree::Paths::below_the_mount);
  tree_.mount("/dev/shm", shared_, FileTree::Paths::below_the_mount);
  for (std::uint64_t count = start.mounts; count != 0; --count) {
    const std::string_view mount = next_string(strings);
    make_folders_above(mount.substr(1), temporary_);
    tree_.mount(mount.substr(1),
                mount.starts_with(abi::mount_to_change) ? host_to_change_ : host_to_read_,
                FileTree::Paths::whole);
  }
  const Or<FileTree::Place> place = tree_.walk({}, directory, FileTree::Last::follow);
  if (place && place->stat && S_ISDIR(place->stat->mode)) {
    first().directory = place->path;
  } else {
    missing_directory_ = directory;
  }
}

SystemState::Numbers SystemState::numbers() const {
  const Process& process = self();
  return {.id = process.id,
          .parent = process.parent,
          .group = process.group,
          .session = process.session};
}

} // namespace guest::linux
