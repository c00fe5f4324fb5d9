// SPDX-License-Identifier: MIT
// Breakpoints as bytes in guest memory. Whoever reads memory through here sees it without them, and
// whoever writes changes what lies beneath.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "vmm/debug/guest_view.hpp"

namespace vmm {

class Breakpoints {
 public:
  // Debuggers set a few dozen; more is not one.
  static constexpr std::size_t max_count = 1024;

  // `view` outlives the object.
  explicit Breakpoints(const GuestView& view) : view_(view) {}

  // False where there is no memory to patch. True for one that is there.
  [[nodiscard]] bool insert(std::uint64_t cr3, std::uint64_t address);
  // Restores the byte, unless the guest has put another there meanwhile.
  void remove(std::uint64_t address);
  void remove_all();
  [[nodiscard]] bool at(std::uint64_t address) const { return patches_.contains(address); }

  // As GuestView::read and write.
  [[nodiscard]] std::size_t read(std::uint64_t cr3, std::uint64_t address,
                                 std::span<std::byte> to) const;
  [[nodiscard]] bool write(std::uint64_t cr3, std::uint64_t address,
                           std::span<const std::byte> from);

 private:
  struct Patch {
    abi::Gpa gpa;
    std::byte original{};
  };

  void restore(const Patch& patch) const;

  const GuestView& view_;
  std::map<std::uint64_t, Patch> patches_; // by guest-virtual address
};

} // namespace vmm
