// SPDX-License-Identifier: MIT
// From a command to a program that can run, as execve does it: first it is found and checked, which
// may fail; then it is loaded into memory where nothing is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/mapped_files.hpp"
#include "guest/linux/load/elf_image.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

// Strings of it are each ended by NUL.
struct Command {
  Text path; // as it was named, without NUL
  Text arguments;
  std::uint32_t argument_count = 0;
  Text environment;
  std::uint32_t environment_count = 0;
};

struct FoundProgram {
  Command command; // of a script: what runs it, with the script's path as it was named
  Text place;      // of what runs, as FileTree::Place::path
  Text path;       // the same as it was named
  std::shared_ptr<File> file;
  ElfImage image;
  Text linker_path;
  std::shared_ptr<File> linker_file; // null: no dynamic linker
  ElfImage linker;
};

// Where a program starts.
struct ProgramEntry {
  std::uint64_t instruction = 0;
  std::uint64_t stack = 0;
  std::uint64_t stack_start = 0; // the lowest address of the stack
};

class ProgramLoader {
 public:
  struct Surroundings {
    FileTree& tree;
    AddressSpace& memory;
    MappedFiles& mapped;
    FilePort& port;                  // for random bytes
    std::span<const std::byte> vdso; // a page to be mapped, or nothing
    std::uint32_t user = 0;
    std::uint32_t group = 0;
    bool tells_code = false; // to the files that it is in
  };
  // All outlive this.
  explicit ProgramLoader(const Surroundings& surroundings) : in_(surroundings) {}

  // `directory` is where relative paths start, as FileTree::Place::path. Errors are those of
  // execve.
  [[nodiscard]] Or<FoundProgram> find(Command command, std::string_view directory);
  // What find() opened or load() loaded last: the program, its interpreter, or its dynamic linker.
  [[nodiscard]] std::string_view opened_path() const { return view(opened_path_); }

  // Into an address space where nothing is. `break_start` is where its break goes.
  [[nodiscard]] Or<ProgramEntry> load(const FoundProgram& program, std::uint64_t break_start);
  // Where nothing is mapped so that a stack faults when it grows too far.
  [[nodiscard]] static bool is_below_stack(std::uint64_t address, std::uint64_t stack_start);

 private:
  struct Opened {
    std::shared_ptr<File> file;
    Text place;
  };
  [[nodiscard]] Or<Opened> open(std::string_view path, std::string_view directory);
  // What a path runs; its arguments are rewritten when it is a script.
  [[nodiscard]] Or<Opened> open_through_scripts(Command& command, std::string_view directory);
  // Maps an image and tells of its code. Returns what is to be added to the file's addresses.
  [[nodiscard]] Or<std::uint64_t> map_image(const std::shared_ptr<File>& file,
                                            const ElfImage& image);
  [[nodiscard]] Or<std::uint64_t> map_stack();
  // Its address; 0 when there is none.
  [[nodiscard]] Or<std::uint64_t> map_vdso();

  Surroundings in_;
  Text opened_path_;
};

} // namespace guest::linux
