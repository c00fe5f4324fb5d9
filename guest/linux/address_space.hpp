// SPDX-License-Identifier: MIT
// A program's memory: which addresses it has, as mmap, munmap, mremap, mprotect, madvise and brk of
// Linux change it. What it gives up goes back to the page allocator at once, and from there to the
// host. Pure: frames, and their content, are behind an interface.
//
// Protections are kept for the program's view (whether a buffer may be read), not enforced: all of
// a guest's RAM is mapped for all uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "guest/linux/elf_image.hpp"
#include "guest/linux/frames.hpp"

namespace guest::linux {

// What a program may do with memory: PROT_ bits of Linux.
using Protection = std::uint32_t;

class AddressSpace {
 public:
  explicit AddressSpace(Frames& frames) : frames_(frames) {}

  // Any free place of `bytes`, zeroed. Sizes are rounded up to pages. ENOMEM when there is none.
  [[nodiscard]] Or<std::uint64_t> map(std::uint64_t bytes, Protection protection);
  // At that address, page aligned, zeroed. What the program has there is replaced; ENOMEM when
  // others have it, and nothing is changed then.
  [[nodiscard]] Or<std::uint64_t> map_at(std::uint64_t address, std::uint64_t bytes,
                                         Protection protection);
  // The same, only where the program has nothing; EEXIST where it has.
  [[nodiscard]] Or<std::uint64_t> map_free(std::uint64_t address, std::uint64_t bytes,
                                           Protection protection);
  // Results are 0 or an error number.
  [[nodiscard]] int unmap(std::uint64_t address, std::uint64_t bytes);
  [[nodiscard]] int protect(std::uint64_t address, std::uint64_t bytes, Protection protection);
  // The content is lost and reads as zero; what was behind it goes back.
  [[nodiscard]] int discard(std::uint64_t address, std::uint64_t bytes);
  // Grows or shrinks a mapping; moves it if it must and may.
  enum class Move : std::uint8_t { no, yes };
  [[nodiscard]] Or<std::uint64_t> remap(std::uint64_t address, std::uint64_t bytes,
                                        std::uint64_t new_bytes, Move move);

  // Where the break starts, page aligned; once, before the program runs.
  void set_break(std::uint64_t start) { break_start_ = break_ = start; }
  // Moves the break and returns where it is: unchanged when that is not possible.
  std::uint64_t move_break(std::uint64_t wanted);

  // Whether the program has all of [address, address + bytes) with at least these rights.
  [[nodiscard]] bool allows(std::uint64_t address, std::uint64_t bytes, Protection rights) const;
  // Bytes from `address` on that are so, up to `bytes`.
  [[nodiscard]] std::uint64_t allowed_bytes(std::uint64_t address, std::uint64_t bytes,
                                            Protection rights) const;
  [[nodiscard]] std::uint64_t mapped_bytes() const;
  // Calls visit(start, end, protection) for each mapping, in order.
  template <typename Visit> void visit(Visit visit) const {
    for (const Area& area : areas_) {
      visit(area.start, area.end, area.protection);
    }
  }

 private:
  // [start, end), page aligned; sorted, disjoint, neighbours of equal protection are one.
  struct Area {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    Protection protection = 0;
  };

  [[nodiscard]] std::size_t first_ending_after(std::uint64_t address) const;
  [[nodiscard]] bool is_free(std::uint64_t start, std::uint64_t end) const;
  void add(const Area& area);
  // Cuts areas in two at an address, so that none goes across it.
  void cut(std::uint64_t address);
  // Takes [start, end) out of the list and gives its frames back.
  void remove(std::uint64_t start, std::uint64_t end);

  // Zeroes what the program has of [start, end); how many bytes that was.
  [[nodiscard]] std::uint64_t renew(std::uint64_t start, std::uint64_t end);

  Frames& frames_;
  std::vector<Area> areas_;
  std::uint64_t break_start_ = 0;
  std::uint64_t break_ = 0;
};

} // namespace guest::linux
