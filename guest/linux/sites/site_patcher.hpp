// SPDX-License-Identifier: MIT
// Turns the SYSCALL instructions of a program into jumps, each at its first use: where SYSCALL is
// an exit (kvm_pvm: 15 us), a call costs what the guest does for it afterwards.
//
// SYSCALL has 2 bytes, a jump 5, so the instructions behind it are moved away: into a trampoline,
// which enters the kernel, does them when the kernel comes back to it, and jumps behind them.
//
//   site:  0f 05            jmp trampoline         trampoline:  lea back(%rip), %rcx
//          48 3d imm32  ->  (rest of the cmp)                   jmp *kernel
//          ja ...           ja ...                 back:        48 3d imm32
//                                                               jmp behind the site's cmp
//
// Never wrong: a jump of the program to what was an instruction's beginning lands within the new
// jump's operand. The trampoline lies where the operand's byte there is an illegal opcode, and the
// trap goes on at the moved instruction (`resume`). A site where that cannot be had, or with
// something behind it that movable_code.hpp does not know, stays as it is.
//
// What sees the difference: a program that reads its own code as data, or copies it elsewhere.
//
// One vCPU: nobody else runs the program while a site changes. Other threads may be anywhere in the
// program, or in a call that returns to a trampoline.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "shared/address.hpp"

namespace guest::linux {

// The program's address space, as far as its code is concerned. Addresses are readable as they are.
class CodePages {
 public:
  // Makes the page at an address part of the program's code; false where that is not possible.
  [[nodiscard]] virtual bool claim_page(std::uint64_t address) = 0;
  virtual void release_page(std::uint64_t address) = 0;
  virtual void write(std::uint64_t address, std::span<const std::uint8_t> code) = 0;

 protected:
  CodePages() = default;
  ~CodePages() = default;
};

class SitePatcher {
 public:
  // The instruction that enters the kernel: return address in RCX, all else as the program has it.
  using Enter = std::array<std::uint8_t, 8>;

  // `pages` outlive this.
  SitePatcher(CodePages& pages, const Enter& enter) : code_(pages), enter_(enter) {}

  // In a copy of the memory that the other one is about.
  SitePatcher(CodePages& pages, const SitePatcher& other)
      : code_(pages), enter_(other.enter_), keeps_trampolines_(other.keeps_trampolines_),
        kept_(other.kept_), pages_(other.pages_), sites_(other.sites_), lowest_(other.lowest_),
        highest_(other.highest_), refused_(other.refused_), next_refused_(other.next_refused_) {}

  // So many sites are patched at once.
  static constexpr std::size_t most_sites = 4096;

  // Bytes at a site, SYSCALL included, that patching may look at.
  static constexpr std::size_t site_bytes = 2 + 3 * 15;

  // Patches the site whose SYSCALL ends at `behind`. `readable`: bytes of the site from its SYSCALL
  // on that are the program's code. Returns where the call must return to now; empty when the site
  // stays as it is.
  [[nodiscard]] std::optional<std::uint64_t> patch(std::uint64_t behind, std::size_t readable);

  // Where to go on after an illegal instruction at `address`; empty when that is none of ours.
  [[nodiscard]] std::optional<std::uint64_t> resume(std::uint64_t address) const;

  // Where the call is made that goes on at `behind`: at a trampoline, or by a SYSCALL.
  [[nodiscard]] std::uint64_t call_before(std::uint64_t behind) const;

  // Before [start, end) is unmapped, replaced or moved: sites there are as they were, and so are
  // those whose moved instructions lie there.
  void restore(std::uint64_t start, std::uint64_t end);

  // From now on there are threads that may be in a trampoline when its site goes: it stays, and
  // counts as a site. A program that maps code again and again has sites that stay slow in the end.
  void keep_trampolines() { keeps_trampolines_ = true; }

  [[nodiscard]] std::size_t sites() const { return sites_.size(); }

 private:
  static constexpr std::size_t jump_bytes = 5; // JMP rel32
  static constexpr std::size_t unit_bytes = 16;
  static constexpr std::size_t page_units = abi::page_bytes / unit_bytes;
  static constexpr std::size_t most_refused = 128;

  // What a patch moves away, counted from behind the SYSCALL.
  struct Moved {
    std::uint8_t bytes = 0;
    std::array<bool, jump_bytes> begins{}; // whether an instruction begins at that byte of the site
  };
  struct Site {
    std::uint64_t address = 0; // of its SYSCALL
    std::uint64_t trampoline = 0;
    std::uint64_t back = 0; // where the moved instructions lie
    Moved moved;
    std::array<std::uint8_t, jump_bytes> before{};
    std::array<std::uint8_t, jump_bytes> jump{};
  };
  struct Page {
    std::uint64_t address = 0;
    std::bitset<page_units> used;
  };

  [[nodiscard]] static std::optional<Moved> moved_at(std::span<const std::uint8_t> site);
  [[nodiscard]] static bool is_as_patched(const Site& site);
  [[nodiscard]] static bool is_possible(std::int64_t distance, const Moved& moved);
  [[nodiscard]] std::optional<std::uint64_t> place_for(std::uint64_t address, const Moved& moved);
  [[nodiscard]] std::optional<std::uint64_t> place_in(Page& page, std::uint64_t address,
                                                      const Moved& moved);
  [[nodiscard]] Page* new_page(std::uint64_t address, const Moved& moved);
  [[nodiscard]] static std::size_t trampoline_bytes(const Moved& moved);
  // Takes sites out of the list that have a byte in [start, end), there or where they were moved
  // to; they are as they were unless written to.
  void forget(std::uint64_t start, std::uint64_t end);
  void set_used(std::uint64_t trampoline, std::size_t bytes, bool used);

  CodePages& code_;
  Enter enter_;
  bool keeps_trampolines_ = false;
  std::size_t kept_ = 0; // whose sites are gone
  std::vector<Page> pages_;
  std::vector<Site> sites_;
  // All sites lie in [lowest_, highest_].
  std::uint64_t lowest_ = UINT64_MAX;
  std::uint64_t highest_ = 0;
  // Sites that stay as they are, the latest; the oldest makes room.
  std::array<std::uint64_t, most_refused> refused_{};
  std::size_t next_refused_ = 0;
};

} // namespace guest::linux
