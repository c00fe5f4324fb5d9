// SPDX-License-Identifier: MIT
// Loading a program.
#include "guest/linux/process.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/initial_stack.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t stack_bytes = std::uint64_t{8} << 20; // the usual limit of Linux
constexpr std::size_t head_bytes = 64;                        // of an ELF file
constexpr Protection all_rights = PROT_READ | PROT_WRITE | PROT_EXEC;
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
                 FilePort& files, Machine& machine, const SitePatcher::Enter& enter,
                 std::span<const std::byte> vdso)
    : start_(start), files_(files), machine_(machine), memory_(frames), code_(memory_),
      sites_(code_, enter), program_path_(next_string(strings)), vdso_(vdso) {
  const std::string_view directory = next_string(strings);
  directory_.assign(directory.begin(), directory.end());
  arguments_ = next_strings(strings, start.arguments);
  environment_ = next_strings(strings, start.environment);
  for (std::uint32_t number = 0; number < 3; ++number) {
    auto* const stream = new OpenFile;
    stream->kind = FileKind::stream;
    stream->host_number = number;
    stream->open_flags = O_RDWR;
    static_cast<void>(open_files_.add(stream));
  }
}

Or<Process::Entry> Process::load(std::uint64_t break_start) {
  std::vector<char> linker_path;
  const Or<Loaded> program = load_image(program_path_, &linker_path);
  if (!program) {
    return std::unexpected(program.error());
  }
  Entry entry{.instruction = program->base + program->image.entry(), .stack = 0};
  std::uint64_t linker_base = 0;
  if (!linker_path.empty()) {
    const Or<Loaded> linker = load_image({linker_path.data(), linker_path.size()}, nullptr);
    if (!linker) {
      return std::unexpected(linker.error());
    }
    linker_base = linker->base;
    entry.instruction = linker->base + linker->image.entry();
  }
  memory_.set_break(break_start);
  const Or<std::uint64_t> stack = memory_.map(stack_bytes, PROT_READ | PROT_WRITE);
  if (!stack) {
    return std::unexpected(stack.error());
  }
  const Or<std::uint64_t> vdso = map_vdso();
  if (!vdso) {
    return std::unexpected(vdso.error());
  }
  std::array<std::byte, 16> random{};
  if (file_call(abi::FileOperation::random, 0, 0, random.data(), random.size()) !=
      static_cast<Answer>(random.size())) {
    return std::unexpected(EIO);
  }
  const std::uint64_t headers = program->image.headers_address();
  const Or<std::uint64_t> top =
      build_stack({reinterpret_cast<std::byte*>(*stack), stack_bytes}, *stack, // NOLINT
                  {.arguments = arguments_,
                   .argument_count = start_.arguments,
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

// `linker` gets the path of the dynamic linker, or stays empty; null: it may have none.
Or<Process::Loaded> Process::load_image(std::string_view path, std::vector<char>* linker) {
  const Answer file = path_call(abi::FileOperation::open, path, 0, nullptr, 0);
  if (file < 0) {
    return std::unexpected(static_cast<int>(-file));
  }
  const auto number = static_cast<std::uint32_t>(file);
  Or<Loaded> loaded = load_open(number, linker);
  static_cast<void>(file_call(abi::FileOperation::close, number, 0, nullptr, 0));
  return loaded;
}

Or<Process::Loaded> Process::load_open(std::uint32_t file, std::vector<char>* linker) {
  std::array<std::byte, head_bytes> head{};
  if (file_call(abi::FileOperation::read, file, 0, head.data(), head.size()) !=
      static_cast<Answer>(head.size())) {
    return std::unexpected(ENOEXEC);
  }
  const auto table = ElfImage::header_table(head);
  if (!table) {
    return std::unexpected(table.error());
  }
  std::array<std::byte, abi::page_bytes> headers{};
  if (file_call(abi::FileOperation::read, file, table->offset, headers.data(), table->bytes) !=
      static_cast<Answer>(table->bytes)) {
    return std::unexpected(ENOEXEC);
  }
  const auto image = ElfImage::parse(head, std::span(headers).first(table->bytes));
  if (!image) {
    return std::unexpected(image.error());
  }
  if (image->linker_bytes() != 0) {
    if (linker == nullptr) {
      return std::unexpected(ELIBBAD);
    }
    linker->resize(image->linker_bytes());
    if (file_call(abi::FileOperation::read, file, image->linker_offset(), linker->data(),
                  linker->size()) != static_cast<Answer>(linker->size()) ||
        linker->back() != '\0') {
      return std::unexpected(ENOEXEC);
    }
    linker->pop_back();
  }
  const std::uint64_t bytes = image->end() - image->start();
  const Or<std::uint64_t> place = image->movable()
                                      ? memory_.map(bytes, all_rights)
                                      : memory_.map_free(image->start(), bytes, all_rights);
  if (!place) {
    return std::unexpected(ENOMEM);
  }
  const std::uint64_t base = *place - image->start();
  if (const int error = load_segments(file, *image, base); error != 0) {
    return std::unexpected(error);
  }
  return Loaded{base, *image};
}

// The memory is there and zero.
int Process::load_segments(std::uint32_t file, const ElfImage& image, std::uint64_t base) {
  for (const ElfSegment& segment : image.segments()) {
    std::uint64_t done = 0;
    while (done < segment.file_bytes) {
      const std::uint64_t bytes =
          std::min(segment.file_bytes - done, std::uint64_t{abi::file_transfer_bytes});
      const std::uint64_t to = base + segment.address + done;
      const Answer got =
          file_call(abi::FileOperation::read, file, segment.file_offset + done,
                    reinterpret_cast<void*>(to), bytes); // NOLINT(performance-no-int-to-ptr)
      if (got <= 0) {
        return got == 0 ? ENOEXEC : static_cast<int>(-got);
      }
      done += static_cast<std::uint64_t>(got);
    }
  }
  return 0;
}

// ---- sites of system calls ---------------------------------------------------------------------

bool ProgramCode::claim_page(std::uint64_t address) {
  return memory_.map_free(address, abi::page_bytes, PROT_READ | PROT_EXEC).has_value();
}

void ProgramCode::release_page(std::uint64_t address) {
  static_cast<void>(memory_.unmap(address, abi::page_bytes));
}

void ProgramCode::write(std::uint64_t address, std::span<const std::uint8_t> code) {
  std::ranges::copy(code, reinterpret_cast<std::uint8_t*>(address)); // NOLINT
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

// ---- the host's files --------------------------------------------------------------------------

Answer Process::file_call(abi::FileOperation operation, std::uint32_t number, std::uint64_t offset,
                          const void* buffer, std::uint64_t bytes) {
  return files_.perform({.operation = operation,
                         .file = number,
                         .offset = offset,
                         .buffer_gpa = reinterpret_cast<std::uint64_t>(buffer),
                         .buffer_bytes = bytes});
}

Answer Process::path_call(abi::FileOperation operation, std::string_view path, std::uint32_t flags,
                          const void* buffer, std::uint64_t bytes) {
  if (path.size() > longest_path) {
    return -ENAMETOOLONG;
  }
  return files_.perform({.operation = operation,
                         .flags = flags,
                         .buffer_gpa = reinterpret_cast<std::uint64_t>(buffer),
                         .buffer_bytes = bytes,
                         .path_gpa = reinterpret_cast<std::uint64_t>(path.data()),
                         .path_bytes = path.size()});
}

} // namespace guest::linux
