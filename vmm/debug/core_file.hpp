// SPDX-License-Identifier: MIT
// `--core FILE`: a guest that crashed as an ELF core file, for gdb together with the image's ELF
// file: vCPUs as threads, memory at guest-virtual addresses. Sparse: what the host has nothing
// behind takes no room in it, and none of the host's memory to write it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/debug/core_memory.hpp"
#include "vmm/debug/debug_target.hpp"
#include "vmm/io/new_file.hpp"
#include "vmm/kvm/kvm.hpp"

namespace vmm {

// One vCPU of a core file.
struct CoreThread {
  unsigned vcpu = 0;
  DebugRegisters registers;
};

// What the file tells of besides memory. The first thread is the one that gdb shows.
struct CoreFacts {
  std::string program; // as it was called
  int signal = 0;      // that a process would have died of
  std::vector<CoreThread> threads;
};

// The beginning of a core file: headers and notes, up to where the first area's memory lies. Pure.
[[nodiscard]] std::vector<std::byte> core_head(const CoreFacts& facts, const MappedMemory& mapped);

// Of a guest that has ended: by a panic of a vCPU, whose registers are then those of its panic
// record, or on the vCPU `crashed`. vCPUs that KVM does not tell of are left out.
[[nodiscard]] CoreFacts core_facts(std::string program, const GuestMemory& memory,
                                   std::span<const Vcpu> vcpus, std::optional<unsigned> crashed);

class CoreFile {
 public:
  // Before rights are given up. Nothing has the name until write(), which replaces what has it
  // then. User error when `path` is something else than a new or a regular file in a folder that
  // takes one.
  static Result<CoreFile> open(const std::string& path);

  // Where names are made and removed.
  [[nodiscard]] const std::string& folder() const { return file_.folder(); }

  // Once; memory is what the first thread sees. Returns the bytes of memory in it. Environment
  // error when it cannot be written; there is no file then.
  [[nodiscard]] Result<std::uint64_t> write(const CoreFacts& facts, const GuestMemory& memory,
                                            const ReadOnlyArea& input);

 private:
  CoreFile(std::string path, NewFile file, UniqueFd pagemap)
      : path_(std::move(path)), file_(std::move(file)), pagemap_(std::move(pagemap)) {}

  [[nodiscard]] Result<void> put(std::span<const std::byte> bytes, std::uint64_t offset) const;
  // Which pages of a block have something behind them, as far as somebody tells.
  using Pages = std::array<bool, 512>;
  [[nodiscard]] Pages present(std::span<const std::byte> block) const;
  [[nodiscard]] static Pages present_in_file(int fd, abi::Gpa gpa, std::uint64_t bytes);
  [[nodiscard]] Pages present(const GuestMemory& memory, abi::Gpa gpa,
                              std::span<const std::byte> block) const;
  [[nodiscard]] Result<std::uint64_t> put_pages(std::span<const std::byte> block,
                                                const Pages& present, std::uint64_t offset) const;

  std::string path_;
  NewFile file_;
  UniqueFd pagemap_; // invalid: the kernel does not tell what is there, and all of it is read
};

} // namespace vmm
