// SPDX-License-Identifier: MIT
// The processor's page tables (SDM vol. 3, 4.5), four levels of them: which frames a program's
// addresses mean, and what it may do there. Tables are made when something is mapped and given back
// when nothing is left in them, so terabytes that nothing is behind cost nothing.
//
// A page that has a frame but no rights keeps it in an entry that is not present. Leaves are 4 KiB
// or 2 MiB; one that an operation would divide must be cut before. Tables that were there before
// (the host's, for RAM at its own addresses) are changed but never given back.
//
// Pure: tables lie behind an interface, and so does what makes the processor forget.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "guest/linux/base/protection.hpp"
#include "guest/linux/memory/frames.hpp"
#include "shared/address.hpp"

namespace guest::linux {

class TableStore {
 public:
  // A page of zeroes; empty: out of memory.
  [[nodiscard]] virtual std::optional<abi::Gpa> allocate() = 0;
  virtual void release(abi::Gpa table) = 0;
  // The 512 entries of a table. The processor reads them at any time.
  [[nodiscard]] virtual std::uint64_t* entries(abi::Gpa table) = 0;
  // Until the kernel is left nobody else runs the program's code, which has forgotten then what it
  // has read.
  virtual void stop_others() = 0;
  // The same, and this processor has forgotten it now; this one alone.
  virtual void flush() = 0;
  virtual void flush_here() = 0;

 protected:
  TableStore() = default;
  ~TableStore() = default;
};

struct MappedPage {
  std::uint64_t address = 0;
  abi::Pfn frame;
};

class PageTables {
 public:
  // `root` is the fourth level's table.
  PageTables(TableStore& store, abi::Gpa root) : store_(store), root_(root) {}
  PageTables(const PageTables&) = delete;
  PageTables& operator=(const PageTables&) = delete;

  // Puts `count` frames in a row behind the pages from `address` on, where nothing is. False when
  // there is no memory for tables; nothing is changed then.
  [[nodiscard]] bool map(std::uint64_t address, abi::Pfn first, std::uint64_t count,
                         Protection protection);
  // Makes the leaves that go across an address two. False when there is no memory for a table.
  [[nodiscard]] bool cut(std::uint64_t address);

  // Of [start, end), cut at both: what is mapped gets these rights.
  void protect(std::uint64_t start, std::uint64_t end, Protection protection);
  // What is mapped there, cut at both, is not there for the processor, whatever its rights, until
  // it is revealed: with these, if it was hidden.
  void hide(std::uint64_t start, std::uint64_t end);
  void reveal(std::uint64_t start, std::uint64_t end, Protection protection);
  // Nothing is mapped there any more, and the frames that were go back.
  void unmap(std::uint64_t start, std::uint64_t end, Frames& frames);
  // The same, but the frames stay taken.
  void detach(std::uint64_t start, std::uint64_t end);
  // What is mapped there is mapped `distance` bytes further on (modulo 2^64), where nothing is.
  // False when there is no memory for tables; nothing is changed then.
  [[nodiscard]] bool move(std::uint64_t start, std::uint64_t end, std::uint64_t distance);
  // Adds each page that has a frame, in order of their addresses.
  void list(std::uint64_t start, std::uint64_t end, std::vector<MappedPage>& to) const;
  // The same, and they have none any more; frames stay taken, and tables where they are. The
  // processor may use them until flush().
  void take(std::uint64_t start, std::uint64_t end, std::vector<MappedPage>& to);
  void flush() { store_.flush(); }
  // For who copies what the program may store to, or shows pages before their content is there.
  void stop_others() { store_.stop_others(); }
  // What is mapped in [start, end), whole 2 MiB, is kept in `entries`, and what those kept is
  // mapped: nothing, if they are none. False when there is no memory for tables; nothing is changed
  // then.
  [[nodiscard]] bool exchange(std::uint64_t start, std::uint64_t end,
                              std::vector<std::uint64_t>& entries);
  // 2 MiB of pages that are alike, in frames in a row, become one leaf again.
  void fold(std::uint64_t start, std::uint64_t end);

  // The frame behind a page, and how many behind it on continue it; empty: nothing is mapped.
  struct FrameRun {
    abi::Pfn first;
    std::uint64_t count = 0;
  };
  [[nodiscard]] std::optional<FrameRun> find(std::uint64_t address) const;
  [[nodiscard]] bool is_empty(std::uint64_t start, std::uint64_t end) const;
  [[nodiscard]] bool is_hidden(std::uint64_t address) const;
  // For a fault where something is mapped: the processor had not seen the latest tables, if these
  // allow any of `rights`. False if they do not.
  [[nodiscard]] bool refresh(std::uint64_t address, Protection rights);

 private:
  // What was taken out of the tables; the processor may still use it until it has been flushed.
  struct Removed {
    std::array<FrameRun, 64> runs{};
    std::size_t run_count = 0;
    std::array<abi::Gpa, 32> tables{};
    std::size_t table_count = 0;
    Frames* frames = nullptr; // null: they stay taken
  };
  class Leaves;

  [[nodiscard]] std::uint64_t load(abi::Gpa table, std::size_t index) const;
  void store(abi::Gpa table, std::size_t index, std::uint64_t entry);
  // The entry for an address at a level (0: 4 KiB), tables made on the way; empty: out of memory.
  struct Place {
    abi::Gpa table;
    std::size_t index = 0;
  };
  [[nodiscard]] std::optional<Place> make_place(std::uint64_t address, unsigned level);
  // Where the leaf for an address is, or the entry that says that there is none.
  struct Leaf {
    Place place;
    unsigned level = 0;
    std::uint64_t entry = 0; // 0: none
  };
  [[nodiscard]] Leaf leaf_at(std::uint64_t address) const;

  void clear(abi::Gpa table, unsigned level, std::uint64_t start, std::uint64_t end,
             Removed& removed);
  void forget(Removed& removed);
  [[nodiscard]] bool has_entries(abi::Gpa table) const;
  [[nodiscard]] bool map_again(std::uint64_t start, std::uint64_t end, std::uint64_t distance);

  TableStore& store_;
  abi::Gpa root_;
};

} // namespace guest::linux
