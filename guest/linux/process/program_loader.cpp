// SPDX-License-Identifier: MIT
#include "guest/linux/process/program_loader.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/linux/load/initial_stack.hpp"
#include "guest/linux/load/script.hpp"
#include "guest/linux/process/image_loader.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t stack_bytes = std::uint64_t{8} << 20; // the usual limit of Linux
constexpr unsigned most_scripts = 5;                          // that run one another
// Nothing is mapped so close below it, so that a stack that grows too far faults.
constexpr std::uint64_t stack_guard_bytes = std::uint64_t{1} << 20;
// What a program uses of its stack first: arguments, environment and the dynamic linker's frames.
constexpr std::uint64_t stack_at_once_bytes = std::uint64_t{64} << 10;

// The strings behind the first.
std::string_view behind_first(std::string_view strings) {
  return strings.substr(std::min(strings.size(), strings.find('\0')) + (strings.empty() ? 0U : 1U));
}

} // namespace

// ---- finding -----------------------------------------------------------------------------------

Or<ProgramLoader::Opened> ProgramLoader::open(std::string_view path, std::string_view directory) {
  opened_path_ = to_text(path);
  if (path.size() > abi::file_path_bytes) {
    return std::unexpected(ENAMETOOLONG);
  }
  const auto place = in_.tree.walk(directory, path, FileTree::Last::follow);
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
  return Opened{std::shared_ptr<File>(*file), place->path};
}

// As execve: a script is its interpreter, with the rest of its first line and its path before the
// arguments but for the first; that may be a script itself, a few times.
Or<ProgramLoader::Opened> ProgramLoader::open_through_scripts(Command& command,
                                                              std::string_view directory) {
  Text path = command.path;
  for (unsigned scripts = 0; scripts <= most_scripts; ++scripts) {
    Or<Opened> opened = open(view(path), directory);
    std::array<char, ScriptLine::most_bytes> head{};
    if (!opened) {
      return opened;
    }
    const Or<std::uint64_t> got = opened->file->read(0, std::as_writable_bytes(std::span(head)));
    if (!got) {
      return std::unexpected(got.error());
    }
    const std::string_view text(head.data(), *got);
    if (!is_script(text)) {
      return opened;
    }
    const Or<ScriptLine> line = parse_script(text);
    if (!line) {
      return std::unexpected(line.error());
    }
    Text arguments;
    const auto add = [&arguments](std::string_view argument) {
      append(arguments, argument);
      arguments.push_back('\0');
    };
    add(line->interpreter);
    if (!line->argument.empty()) {
      add(line->argument);
    }
    add(view(path));
    append(arguments, behind_first(view(command.arguments)));
    command.argument_count +=
        (line->argument.empty() ? 1U : 2U) + (command.argument_count == 0 ? 1U : 0U);
    command.arguments = std::move(arguments);
    path = to_text(line->interpreter);
  }
  return std::unexpected(ELOOP);
}

Or<FoundProgram> ProgramLoader::find(Command command, std::string_view directory) {
  Or<Opened> opened = open_through_scripts(command, directory);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  Text linker_path;
  const Or<ElfImage> image = ImageLoader::parse(*opened->file, &linker_path);
  if (!image) {
    return std::unexpected(image.error());
  }
  FoundProgram found{.command = std::move(command),
                     .place = std::move(opened->place),
                     .path = opened_path_,
                     .file = std::move(opened->file),
                     .image = *image,
                     .linker_path = {},
                     .linker_file = nullptr,
                     .linker = {}};
  if (!linker_path.empty()) {
    Or<Opened> linker = open(view(linker_path), directory);
    if (!linker) {
      return std::unexpected(linker.error());
    }
    const Or<ElfImage> linker_image = ImageLoader::parse(*linker->file, nullptr);
    if (!linker_image) {
      return std::unexpected(linker_image.error());
    }
    found.linker_file = std::move(linker->file);
    found.linker = *linker_image;
  }
  found.linker_path = std::move(linker_path);
  return found;
}

// ---- loading -----------------------------------------------------------------------------------

Or<ProgramEntry> ProgramLoader::load(const FoundProgram& program, std::uint64_t break_start) {
  opened_path_ = program.path;
  const Or<std::uint64_t> base = map_image(program.file, program.image);
  if (!base) {
    return std::unexpected(base.error());
  }
  Or<std::uint64_t> linker_base = 0;
  if (program.linker_file != nullptr) {
    opened_path_ = program.linker_path;
    linker_base = map_image(program.linker_file, program.linker);
    if (!linker_base) {
      return std::unexpected(linker_base.error());
    }
  }
  in_.memory.set_break(break_start);
  const Or<std::uint64_t> stack = map_stack();
  if (!stack) {
    return std::unexpected(stack.error());
  }
  const Or<std::uint64_t> vdso = map_vdso();
  if (!vdso) {
    return std::unexpected(vdso.error());
  }
  std::array<std::byte, 16> random{};
  if (in_.port.perform({.operation = abi::FileOperation::random,
                        .buffer_gpa = reinterpret_cast<std::uint64_t>(random.data()),
                        .buffer_bytes = random.size()}) != abi::FileResult{random.size()}) {
    return std::unexpected(EIO);
  }
  const std::uint64_t headers = program.image.headers_address();
  const Command& command = program.command;
  const Or<std::uint64_t> top =
      build_stack({reinterpret_cast<std::byte*>(*stack), stack_bytes}, *stack, // NOLINT
                  {.arguments = view(command.arguments),
                   .argument_count = command.argument_count,
                   .environment = view(command.environment),
                   .environment_count = command.environment_count,
                   .program_path = view(command.path),
                   .entry = *base + program.image.entry(),
                   .headers_address = headers == 0 ? 0 : *base + headers,
                   .headers = program.image.headers(),
                   .linker_base = *linker_base,
                   .vdso = *vdso,
                   .user = in_.user,
                   .group = in_.group,
                   .random = random});
  if (!top) {
    return std::unexpected(top.error());
  }
  return ProgramEntry{.instruction = program.linker_file != nullptr
                                         ? *linker_base + program.linker.entry()
                                         : *base + program.image.entry(),
                      .stack = *top,
                      .stack_start = *stack};
}

Or<std::uint64_t> ProgramLoader::map_image(const std::shared_ptr<File>& file,
                                           const ElfImage& image) {
  const Or<std::uint64_t> base = ImageLoader(in_.memory, in_.mapped).map(file, image);
  if (base && in_.tells_code) {
    for (const ElfSegment& segment : image.segments()) {
      if ((segment.protection & PROT_EXEC) != 0) {
        file->tell_code(*base + segment.address, segment.file_offset, segment.file_bytes);
      }
    }
  }
  return base;
}

Or<std::uint64_t> ProgramLoader::map_vdso() {
  if (in_.vdso.empty()) {
    return 0;
  }
  const Or<std::uint64_t> place = in_.memory.map(in_.vdso.size(), PROT_READ | PROT_EXEC);
  if (place) {
    in_.memory.write(*place, in_.vdso);
  }
  return place;
}

bool ProgramLoader::is_below_stack(std::uint64_t address, std::uint64_t stack_start) {
  return address < stack_start && stack_start - address <= stack_guard_bytes;
}

Or<std::uint64_t> ProgramLoader::map_stack() {
  const Or<std::uint64_t> guard =
      in_.memory.map(stack_guard_bytes + stack_bytes, protection_none, Commitment::none);
  if (!guard) {
    return guard;
  }
  const std::uint64_t stack = *guard + stack_guard_bytes;
  if (in_.memory.protect(stack, stack_bytes, read_write) != 0 ||
      in_.memory.populate(stack + stack_bytes - stack_at_once_bytes, stack_at_once_bytes) != 0) {
    return std::unexpected(ENOMEM);
  }
  return stack;
}

} // namespace guest::linux
