// SPDX-License-Identifier: MIT
#include "guest/linux/process/process.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

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

} // namespace

Process::Process(abi::ProgramStart& start, std::string_view strings, Frames& frames,
                 PageTables& tables, const AddressZones& zones, FilePort& files, Machine& machine,
                 Contexts& contexts, const SitePatcher::Enter& enter,
                 std::span<const std::byte> vdso)
    : start_(start), machine_(machine), views_(areas_, tables), mapped_(views_),
      cache_pages_(frames), contents_(cache_pages_, machine, mapped_), frames_(frames, contents_),
      memory_(frames_, tables, areas_, mapped_, zones), user_(memory_), files_(memory_, files),
      random_(files_), code_(memory_), sites_(code_, enter), pages_(frames_),
      host_to_read_(files_, machine, contents_, HostFiles::Use::read_only),
      host_to_change_(files_, machine, contents_, HostFiles::Use::changed),
      temporary_(pages_, mapped_, *this, {start.user, start.group}, temporary_device),
      shared_(pages_, mapped_, *this, {start.user, start.group}, shared_device),
      credentials_(start.user, start.group), loader_({.tree = tree_,
                                                      .memory = memory_,
                                                      .mapped = mapped_,
                                                      .port = files_,
                                                      .vdso = vdso,
                                                      .user = start.user,
                                                      .group = start.group}),
      contexts_(contexts),
      scheduler_(machine, contexts, *this,
                 std::make_unique<Thread>(process_id, actions_, shared_pending_, contexts.first())),
      futexes_(scheduler_) {
  command_.path = to_text(next_string(strings));
  const std::string_view directory = next_string(strings);
  command_.arguments = to_text(next_strings(strings, start.arguments));
  command_.argument_count = start.arguments;
  command_.environment = to_text(next_strings(strings, start.environment));
  command_.environment_count = start.environment;
  std::optional<std::uint32_t> terminal;
  for (std::uint32_t number = 0; number < HostStream::count; ++number) {
    if (((start.closed_streams >> number) & 1) != 0) {
      continue;
    }
    auto stream = std::make_unique<HostStream>(files_, number);
    const bool is_terminal = stream->terminal() != nullptr;
    terminal = !terminal && is_terminal ? number : terminal;
    static_cast<void>(
        open_files_.add(std::make_unique<OpenFile>(stream.release(), std::uint32_t{O_RDWR},
                                                   is_terminal ? to_text(terminal_path) : Text{}),
                        static_cast<int>(number)));
  }
  for (std::uint64_t signal = 1; signal <= last_signal; ++signal) {
    if ((start.ignored_signals & set_of(signal)) != 0) {
      actions_.set(signal, {.handler = SignalAction::ignore});
    }
  }
  synthetic_ = std::make_unique<SyntheticFiles>(SyntheticFacts{.program = executable_place_,
                                                               .arguments = command_.arguments,
                                                               .environment = command_.environment,
                                                               .user = start.user,
                                                               .group = start.group,
                                                               .machine = machine,
                                                               .pages = pages_,
                                                               .port = files_,
                                                               .memory = memory_,
                                                               .files = open_files_,
                                                               .tree = tree_,
                                                               .directory = directory_,
                                                               .terminal = terminal});
  tree_.mount("", host_to_read_, FileTree::Paths::whole);
  for (const std::string_view place : {"/dev", "/proc", "/sys"}) {
    tree_.mount(place, *synthetic_, FileTree::Paths::whole);
  }
  tree_.mount("/tmp", temporary_, FileTree::Paths::below_the_mount);
  tree_.mount("/dev/shm", shared_, FileTree::Paths::below_the_mount);
  for (std::uint64_t count = start.mounts; count != 0; --count) {
    const std::string_view mount = next_string(strings);
    make_folders_above(mount.substr(1));
    tree_.mount(mount.substr(1),
                mount.starts_with(abi::mount_to_change) ? host_to_change_ : host_to_read_,
                FileTree::Paths::whole);
  }
  const Or<Place> place = tree_.walk({}, directory, Last::follow);
  if (place && place->stat && S_ISDIR(place->stat->mode)) {
    directory_ = place->path;
  } else {
    missing_directory_ = directory;
  }
}

// In what is memory of the guest's: where a bind is, folders are that a program can use.
void Process::make_folders_above(std::string_view mount) {
  constexpr std::string_view place = "/tmp";
  if (!mount.starts_with(place) || !mount.substr(place.size()).starts_with('/')) {
    return;
  }
  const std::string_view inside = mount.substr(place.size());
  for (std::size_t slash = inside.find('/', 1); slash != std::string_view::npos;
       slash = inside.find('/', slash + 1)) {
    // It may be there already, and a name that is too long is told when it is used.
    static_cast<void>(temporary_.make_folder(inside.substr(0, slash), 0755));
  }
}

// ---- what is run -------------------------------------------------------------------------------

Or<ProgramEntry> Process::load(std::uint64_t break_start) {
  break_start_ = break_start;
  Or<FoundProgram> found = loader_.find(command_, view(directory_));
  return found ? become(*found) : std::unexpected(found.error());
}

Or<ProgramEntry> Process::become(FoundProgram& found) {
  const Or<ProgramEntry> entry = loader_.load(found, break_start_);
  command_ = std::move(found.command);
  executable_place_ = std::move(found.place);
  traits_.begin();
  scheduler_.running().set_name(view(executable_place_));
  if (entry && start_.debugged != 0) {
    memory_.populate_files(); // breakpoints need the pages that they are in
  }
  return entry;
}

// What a program leaves to the one that follows it: its files but for those that are to be closed,
// what is blocked and ignored and waits, and where it is.
Answer Process::execute(Command command, std::string_view directory) {
  Or<FoundProgram> found = loader_.find(std::move(command), directory);
  if (!found) {
    return -Answer{found.error()};
  }
  if (!end_others()) {
    return -EINTR;
  }
  sites_.restore(0, highest_address);
  memory_.unmap_all();
  for (std::uint64_t descriptor = 0; descriptor < open_files_.end(); ++descriptor) {
    if (open_files_.closes_on_exec(descriptor)) {
      static_cast<void>(open_files_.remove(descriptor));
    }
  }
  actions_.forget_handlers();
  Thread& thread = scheduler_.running();
  thread.signals.alternate_stack = {};
  thread.id = process_id;
  thread.clear_at_end = 0;
  thread.robust_list = 0;
  timers_.remove_made();
  machine_.set_handled_signals(handled_signals());
  machine_.set_thread_pointer(0);
  const Or<ProgramEntry> entry = become(*found);
  if (!entry) {
    end_by_signal(SIGKILL); // there is nothing to go back to, as in Linux
  }
  follower_ = *entry;
  return 0;
}

// ---- sites of system calls ---------------------------------------------------------------------

std::uint64_t Process::patch_site(std::uint64_t behind) {
  constexpr std::uint64_t call_bytes = 2;
  ++start_.by_instruction;
  if (start_.debugged != 0) {
    return behind; // breakpoints are in the code, and are to be hit where it says
  }
  const std::uint64_t code = behind - call_bytes;
  if (memory_.is_shared(code)) {
    return behind; // or the file would have a jump there
  }
  const std::uint64_t readable =
      memory_.allowed_bytes(code, SitePatcher::site_bytes, PROT_READ | PROT_EXEC);
  return sites_.patch(behind, readable).value_or(behind);
}

} // namespace guest::linux
