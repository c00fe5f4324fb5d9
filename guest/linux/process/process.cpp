// SPDX-License-Identifier: MIT
// Loading a program.
#include "guest/linux/process/process.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/load/initial_stack.hpp"
#include "guest/linux/load/script.hpp"
#include "guest/linux/process/image_loader.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t stack_bytes = std::uint64_t{8} << 20; // the usual limit of Linux
constexpr std::uint64_t temporary_device = 2;
constexpr std::uint64_t shared_device = 6;
constexpr unsigned most_scripts = 5; // that run one another
// Nothing is mapped so close below it, so that a stack that grows too far faults.
constexpr std::uint64_t stack_guard_bytes = std::uint64_t{1} << 20;
// What a program uses of its stack first: arguments, environment and the dynamic linker's frames.
constexpr std::uint64_t stack_at_once_bytes = std::uint64_t{64} << 10;
// A program's name for memory of its own has at most that many bytes.
constexpr std::uint64_t longest_path = abi::file_path_bytes;

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
                 const SitePatcher::Enter& enter, std::span<const std::byte> vdso)
    : start_(start), machine_(machine), memory_(frames, tables, mapped_, zones),
      files_(memory_, files), code_(memory_), sites_(code_, enter), pages_(frames),
      host_to_read_(files_, machine, HostFiles::Use::read_only),
      host_to_change_(files_, machine, HostFiles::Use::changed),
      temporary_(pages_, *this, {start.user, start.group}, temporary_device),
      shared_(pages_, *this, {start.user, start.group}, shared_device),
      program_path_(next_string(strings)), executable_(to_text(program_path_)), vdso_(vdso) {
  const std::string_view directory = next_string(strings);
  arguments_ = next_strings(strings, start.arguments);
  argument_count_ = start.arguments;
  environment_ = next_strings(strings, start.environment);
  synthetic_ = std::make_unique<SyntheticFiles>(SyntheticFacts{.program = executable_place_,
                                                               .arguments = arguments_,
                                                               .environment = environment_,
                                                               .user = start.user,
                                                               .group = start.group,
                                                               .machine = machine,
                                                               .pages = pages_,
                                                               .port = files_,
                                                               .memory = memory_,
                                                               .files = open_files_,
                                                               .tree = tree_,
                                                               .directory = directory_});
  tree_.mount("", host_to_read_, FileTree::Paths::whole);
  for (const std::string_view place : {"/dev", "/proc", "/sys"}) {
    tree_.mount(place, *synthetic_, FileTree::Paths::whole);
  }
  tree_.mount("/tmp", temporary_, FileTree::Paths::below_the_mount);
  tree_.mount("/dev/shm", shared_, FileTree::Paths::below_the_mount);
  for (std::uint64_t count = start.mounts; count != 0; --count) {
    const std::string_view mount = next_string(strings);
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
  for (std::uint32_t number = 0; number < 3; ++number) {
    static_cast<void>(open_files_.add(std::make_unique<OpenFile>(
        make_stream(files_, machine, number), std::uint32_t{O_RDWR}, Text{})));
  }
}

// ---- what is run -------------------------------------------------------------------------------

Or<std::shared_ptr<File>> Process::open_program(std::string_view path) {
  loaded_path_ = to_text(path);
  const Or<Place> place = tree_.walk(view(directory_), path, Last::follow);
  if (!place || !place->stat) {
    return std::unexpected(place ? place->stat.error() : place.error());
  }
  if (place->descriptor || !S_ISREG(place->stat->mode) || (place->stat->mode & 0111U) == 0) {
    return std::unexpected(EACCES);
  }
  const Or<File*> file = place->system->open(place->inner(), FileAccess::read, *place->stat);
  if (!file) {
    return std::unexpected(file.error());
  }
  return std::shared_ptr<File>(*file);
}

// As execve: a script is its interpreter, with the rest of its first line and its path before the
// arguments but for the first; that may be a script itself, a few times.
Or<std::shared_ptr<File>> Process::find_program() {
  for (unsigned scripts = 0; scripts <= most_scripts; ++scripts) {
    Or<std::shared_ptr<File>> file = open_program(view(executable_));
    std::array<char, ScriptLine::most_bytes> head{};
    if (!file) {
      return file;
    }
    const Or<std::uint64_t> got = (*file)->read(0, std::as_writable_bytes(std::span(head)));
    if (!got) {
      return std::unexpected(got.error());
    }
    const std::string_view text(head.data(), *got);
    if (!is_script(text)) {
      const Or<Place> place = tree_.walk(view(directory_), view(executable_), Last::follow);
      executable_place_ = place ? place->path : executable_;
      return file;
    }
    const Or<ScriptLine> line = parse_script(text);
    if (!line) {
      return std::unexpected(line.error());
    }
    std::string_view others = arguments_;
    static_cast<void>(next_string(others));
    Text arguments;
    const auto add = [&arguments](std::string_view argument) {
      append(arguments, argument);
      arguments.push_back('\0');
    };
    add(line->interpreter);
    if (!line->argument.empty()) {
      add(line->argument);
    }
    add(view(executable_));
    append(arguments, others);
    argument_count_ += (line->argument.empty() ? 1U : 2U) + (argument_count_ == 0 ? 1U : 0U);
    executable_ = to_text(line->interpreter);
    script_arguments_ = std::move(arguments);
    arguments_ = view(script_arguments_);
  }
  return std::unexpected(ELOOP);
}

Or<Process::Entry> Process::load(std::uint64_t break_start) {
  const Or<std::shared_ptr<File>> file = find_program();
  if (!file) {
    return std::unexpected(file.error());
  }
  ImageLoader images(memory_, mapped_);
  Text linker_path;
  const Or<LoadedImage> program = images.load(*file, &linker_path);
  if (!program) {
    return std::unexpected(program.error());
  }
  Entry entry{.instruction = program->base + program->image.entry(), .stack = 0};
  std::uint64_t linker_base = 0;
  if (!linker_path.empty()) {
    const Or<std::shared_ptr<File>> linker_file = open_program(view(linker_path));
    if (!linker_file) {
      return std::unexpected(linker_file.error());
    }
    const Or<LoadedImage> linker = images.load(*linker_file, nullptr);
    if (!linker) {
      return std::unexpected(linker.error());
    }
    linker_base = linker->base;
    entry.instruction = linker->base + linker->image.entry();
  }
  memory_.set_break(break_start);
  const Or<std::uint64_t> stack = map_stack();
  if (!stack) {
    return std::unexpected(stack.error());
  }
  const Or<std::uint64_t> vdso = map_vdso();
  if (!vdso) {
    return std::unexpected(vdso.error());
  }
  std::array<std::byte, 16> random{};
  if (files_.perform({.operation = abi::FileOperation::random,
                      .buffer_gpa = reinterpret_cast<std::uint64_t>(random.data()),
                      .buffer_bytes = random.size()}) != abi::FileResult{random.size()}) {
    return std::unexpected(EIO);
  }
  const std::uint64_t headers = program->image.headers_address();
  const Or<std::uint64_t> top =
      build_stack({reinterpret_cast<std::byte*>(*stack), stack_bytes}, *stack, // NOLINT
                  {.arguments = arguments_,
                   .argument_count = argument_count_,
                   .environment = environment_,
                   .environment_count = start_.environment,
                   .program_path = program_path_,
                   .entry = program->base + program->image.entry(),
                   .headers_address = headers == 0 ? 0 : program->base + headers,
                   .headers = program->image.headers(),
                   .linker_base = linker_base,
                   .vdso = *vdso,
                   .user = start_.user,
                   .group = start_.group,
                   .random = random});
  if (!top) {
    return std::unexpected(top.error());
  }
  entry.stack = *top;
  return entry;
}

Or<std::uint64_t> Process::map_vdso() {
  if (vdso_.empty()) {
    return 0;
  }
  const Or<std::uint64_t> place = memory_.map(vdso_.size(), PROT_READ | PROT_EXEC);
  if (place) {
    code_.write(*place, {reinterpret_cast<const std::uint8_t*>(vdso_.data()), vdso_.size()});
  }
  return place;
}

Or<std::uint64_t> Process::map_stack() {
  const Or<std::uint64_t> guard =
      memory_.map(stack_guard_bytes + stack_bytes, protection_none, Commitment::none);
  if (!guard) {
    return guard;
  }
  const std::uint64_t stack = *guard + stack_guard_bytes;
  if (memory_.protect(stack, stack_bytes, read_write) != 0 ||
      memory_.populate(stack + stack_bytes - stack_at_once_bytes, stack_at_once_bytes) != 0) {
    return std::unexpected(ENOMEM);
  }
  return stack;
}

// ---- sites of system calls ---------------------------------------------------------------------

bool ProgramCode::claim_page(std::uint64_t address) {
  return memory_.map_free(address, abi::page_bytes, PROT_READ | PROT_EXEC).has_value();
}

void ProgramCode::release_page(std::uint64_t address) {
  static_cast<void>(memory_.unmap(address, abi::page_bytes));
}

void ProgramCode::write(std::uint64_t address, std::span<const std::uint8_t> code) {
  memory_.write(address, std::as_bytes(code));
}

std::uint64_t Process::patch_site(std::uint64_t behind) {
  constexpr std::uint64_t call_bytes = 2;
  ++start_.by_instruction;
  const std::uint64_t code = behind - call_bytes;
  const std::uint64_t readable =
      memory_.allowed_bytes(code, SitePatcher::site_bytes, PROT_READ | PROT_EXEC);
  return sites_.patch(behind, readable).value_or(behind);
}

// ---- memory of the program ---------------------------------------------------------------------

bool Process::may_read(std::uint64_t address, std::uint64_t bytes) const {
  return memory_.allows(address, bytes, PROT_READ);
}

bool Process::may_write(std::uint64_t address, std::uint64_t bytes) const {
  return memory_.allows(address, bytes, PROT_WRITE);
}

Or<std::span<std::byte>> Process::room_at(std::uint64_t address, std::uint64_t bytes) {
  if (!may_write(address, bytes) || !memory_.shows(address, bytes)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<std::byte*>(address), bytes}; // NOLINT
}

Or<std::span<const std::byte>> Process::data_at(std::uint64_t address, std::uint64_t bytes) {
  if (!may_read(address, bytes) || !memory_.shows(address, bytes)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<const std::byte*>(address), bytes}; // NOLINT
}

Or<std::string_view> Process::path_at(std::uint64_t address) const {
  const std::uint64_t readable = memory_.allowed_bytes(address, longest_path + 1, PROT_READ);
  if (readable == 0) {
    return std::unexpected(EFAULT);
  }
  const auto* const text =
      reinterpret_cast<const char*>(address); // NOLINT(performance-no-int-to-ptr)
  const void* const end = std::memchr(text, 0, readable);
  if (end == nullptr) {
    return std::unexpected(readable > longest_path ? ENAMETOOLONG : EFAULT);
  }
  return std::string_view(text, static_cast<const char*>(end));
}

} // namespace guest::linux
