// SPDX-License-Identifier: MIT
#include "guest/linux/memory/page_tables.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <utility>

#include "shared/page_table_entry.hpp"

namespace guest::linux {

namespace {

using namespace abi::page_entry; // NOLINT(google-build-using-namespace)

constexpr unsigned top_level = 3;
constexpr unsigned large_level = 1; // of a 2 MiB leaf
constexpr std::uint64_t frames_per_large = per_table;

// Bits that the processor ignores.
constexpr std::uint64_t kept = 1U << 9;       // a leaf, present or not
constexpr std::uint64_t made_here = 1U << 10; // names a table that came from the store
constexpr std::uint64_t hidden = 1U << 11;    // a leaf that is not present, whatever its rights
constexpr std::uint64_t table_bits = present | writable | user | accessed | made_here;

constexpr std::uint64_t level_bytes(unsigned level) {
  return abi::page_bytes << (9 * level);
}
constexpr std::size_t index_of(std::uint64_t address, unsigned level) {
  return address / level_bytes(level) % per_table;
}
constexpr abi::Gpa table_of(std::uint64_t entry) {
  return {entry & address_mask};
}
constexpr abi::Pfn frame_in(std::uint64_t entry) {
  return abi::to_pfn({entry & address_mask});
}
constexpr bool is_leaf(std::uint64_t entry, unsigned level) {
  return entry != 0 && (level == 0 || (entry & large) != 0);
}

// Writing implies reading, and so does executing (without protection keys).
constexpr std::uint64_t rights_of(Protection protection) {
  return (protection != protection_none ? std::uint64_t{present} : 0) |
         ((protection & PROT_WRITE) != 0 ? std::uint64_t{writable} : 0) |
         ((protection & PROT_EXEC) != 0 ? 0 : std::uint64_t{no_execute});
}
constexpr std::uint64_t all_rights_bits = present | writable | no_execute;

constexpr std::uint64_t leaf_for(abi::Pfn frame, Protection protection, unsigned level) {
  return abi::to_gpa(frame).value | user | accessed | dirty | kept | rights_of(protection) |
         (level == large_level ? std::uint64_t{large} : 0);
}

// Whether somebody might go on doing what is not allowed any more.
constexpr bool takes_rights(std::uint64_t before, std::uint64_t after) {
  return ((before & ~after) & (present | writable)) != 0 || ((after & ~before) & no_execute) != 0;
}

} // namespace

// Calls visit(place, level, address, entry) for each leaf of [start, end).
class PageTables::Leaves {
 public:
  template <typename Visit>
  static void visit(const PageTables& tables, std::uint64_t start, std::uint64_t end, Visit visit) {
    walk(tables, tables.root_, top_level, start, end, visit);
  }

 private:
  // False when the visitor wants no more.
  template <typename Visit>
  static bool walk(const PageTables& tables, abi::Gpa table, unsigned level, std::uint64_t start,
                   std::uint64_t end, Visit& visit) {
    for (std::uint64_t address = start; address < end;) {
      const std::uint64_t next = abi::align_down(address, level_bytes(level)) + level_bytes(level);
      const std::size_t index = index_of(address, level);
      const std::uint64_t entry = tables.load(table, index);
      if (is_leaf(entry, level)) {
        if (!visit(Place{table, index}, level, address, entry)) {
          return false;
        }
      } else if (entry != 0 &&
                 !walk(tables, table_of(entry), level - 1, address, std::min(next, end), visit)) {
        return false;
      }
      address = next;
    }
    return true;
  }
};

std::uint64_t PageTables::load(abi::Gpa table, std::size_t index) const {
  return std::atomic_ref(store_.entries(table)[index]).load(std::memory_order_relaxed);
}

void PageTables::store(abi::Gpa table, std::size_t index, std::uint64_t entry) {
  std::atomic_ref(store_.entries(table)[index]).store(entry, std::memory_order_relaxed);
}

std::optional<PageTables::Place> PageTables::make_place(std::uint64_t address, unsigned level) {
  abi::Gpa table = root_;
  for (unsigned at = top_level; at > level; --at) {
    const std::size_t index = index_of(address, at);
    std::uint64_t entry = load(table, index);
    if (entry == 0) {
      const std::optional<abi::Gpa> made = store_.allocate();
      if (!made) {
        return std::nullopt;
      }
      entry = made->value | table_bits;
      store(table, index, entry);
    }
    table = table_of(entry);
  }
  return Place{table, index_of(address, level)};
}

PageTables::Leaf PageTables::leaf_at(std::uint64_t address) const {
  abi::Gpa table = root_;
  for (unsigned level = top_level;; --level) {
    const std::size_t index = index_of(address, level);
    const std::uint64_t entry = load(table, index);
    if (entry == 0 || is_leaf(entry, level)) {
      return {{table, index}, level, entry};
    }
    table = table_of(entry);
  }
}

bool PageTables::map(std::uint64_t address, abi::Pfn first, std::uint64_t count,
                     Protection protection) {
  for (std::uint64_t done = 0; done < count;) {
    const std::uint64_t at = address + done * abi::page_bytes;
    const abi::Pfn frame = first + done;
    const bool whole = at % abi::huge_page_bytes == 0 && frame.value % frames_per_large == 0 &&
                       count - done >= frames_per_large;
    // Where there is a table already, what it is for may come and go by pages.
    const unsigned level = whole && leaf_at(at).level >= large_level ? large_level : 0;
    const std::optional<Place> place = make_place(at, level);
    if (!place) {
      Removed removed; // the frames are the caller's
      clear(root_, top_level, address, at, removed);
      forget(removed);
      return false;
    }
    store(place->table, place->index, leaf_for(frame, protection, level));
    done += level == large_level ? frames_per_large : 1;
  }
  return true;
}

bool PageTables::cut(std::uint64_t address) {
  const Leaf leaf = leaf_at(address);
  if (leaf.entry == 0 || leaf.level == 0 || address % level_bytes(leaf.level) == 0) {
    return true;
  }
  const std::optional<abi::Gpa> made = store_.allocate();
  if (!made) {
    return false;
  }
  const std::uint64_t page = leaf.entry & ~std::uint64_t{large};
  for (std::size_t index = 0; index < per_table; ++index) {
    store(*made, index, page + index * abi::page_bytes);
  }
  store(leaf.place.table, leaf.place.index, made->value | table_bits);
  return true;
}

namespace {

void add_pages(std::vector<MappedPage>& to, unsigned level, std::uint64_t address,
               std::uint64_t entry) {
  for (std::uint64_t page = 0; page < level_bytes(level) / abi::page_bytes; ++page) {
    to.push_back({address + page * abi::page_bytes, frame_in(entry) + page});
  }
}

} // namespace

void PageTables::list(std::uint64_t start, std::uint64_t end, std::vector<MappedPage>& to) const {
  Leaves::visit(*this, start, end,
                [&](Place, unsigned level, std::uint64_t address, std::uint64_t entry) {
                  add_pages(to, level, address, entry);
                  return true;
                });
}

void PageTables::take(std::uint64_t start, std::uint64_t end, std::vector<MappedPage>& to) {
  Leaves::visit(*this, start, end,
                [&](Place place, unsigned level, std::uint64_t address, std::uint64_t entry) {
                  add_pages(to, level, address, entry);
                  store(place.table, place.index, 0);
                  return true;
                });
}

bool PageTables::exchange(std::uint64_t start, std::uint64_t end,
                          std::vector<std::uint64_t>& entries) {
  const std::size_t count = (end - start) / abi::huge_page_bytes;
  for (std::size_t index = 0; index < count; ++index) {
    if (!make_place(start + index * abi::huge_page_bytes, large_level)) {
      return false;
    }
  }
  entries.resize(count);
  for (std::size_t index = 0; index < count; ++index) {
    const Place place = *make_place(start + index * abi::huge_page_bytes, large_level);
    const std::uint64_t entry = load(place.table, place.index);
    if (entry != entries[index]) {
      store(place.table, place.index, std::exchange(entries[index], entry));
    }
  }
  store_.flush();
  return true;
}

void PageTables::protect(std::uint64_t start, std::uint64_t end, Protection protection) {
  const std::uint64_t rights = rights_of(protection);
  bool must_flush = false;
  Leaves::visit(*this, start, end,
                [&](Place place, unsigned level, std::uint64_t address, std::uint64_t entry) {
                  assert(level == 0 ||
                         (address % abi::huge_page_bytes == 0 &&
                          end - address >= abi::huge_page_bytes)); // or it was to be cut
                  const std::uint64_t shown = (entry & hidden) != 0 ? rights & ~present : rights;
                  const std::uint64_t changed = (entry & ~all_rights_bits) | kept | shown;
                  if (changed != entry) {
                    must_flush = must_flush || takes_rights(entry, changed);
                    store(place.table, place.index, changed);
                  }
                  return true;
                });
  if (must_flush) {
    store_.flush();
  }
}

void PageTables::hide(std::uint64_t start, std::uint64_t end) {
  Leaves::visit(*this, start, end, [&](Place place, unsigned, std::uint64_t, std::uint64_t entry) {
    store(place.table, place.index, (entry & ~std::uint64_t{present}) | kept | hidden);
    return true;
  });
  store_.flush();
}

void PageTables::reveal(std::uint64_t start, std::uint64_t end, Protection protection) {
  store_.stop_others(); // the content may come only now
  Leaves::visit(*this, start, end, [&](Place place, unsigned, std::uint64_t, std::uint64_t entry) {
    if ((entry & hidden) != 0) {
      store(place.table, place.index,
            (entry & ~(all_rights_bits | hidden)) | kept | rights_of(protection));
    }
    return true;
  });
}

// ---- taking out --------------------------------------------------------------------------------

bool PageTables::has_entries(abi::Gpa table) const {
  const std::uint64_t* const entries = store_.entries(table);
  return std::any_of(entries, entries + per_table, [](std::uint64_t entry) { return entry != 0; });
}

// Only once the processor cannot reach it any more may a frame or a table be something else.
void PageTables::forget(Removed& removed) {
  if (removed.run_count == 0 && removed.table_count == 0) {
    return;
  }
  store_.flush();
  for (std::size_t index = 0; removed.frames != nullptr && index < removed.run_count; ++index) {
    removed.frames->release(removed.runs[index].first, removed.runs[index].count);
  }
  for (std::size_t index = 0; index < removed.table_count; ++index) {
    store_.release(removed.tables[index]);
  }
  removed.run_count = removed.table_count = 0;
}

void PageTables::clear(abi::Gpa table, unsigned level, std::uint64_t start, std::uint64_t end,
                       Removed& removed) {
  for (std::uint64_t address = start; address < end;) {
    const std::uint64_t next = abi::align_down(address, level_bytes(level)) + level_bytes(level);
    const std::size_t index = index_of(address, level);
    const std::uint64_t entry = load(table, index);
    if (is_leaf(entry, level)) {
      assert(next <= end && address % level_bytes(level) == 0); // or it was to be cut
      if (removed.run_count == removed.runs.size()) {
        forget(removed);
      }
      store(table, index, 0);
      const FrameRun run{frame_in(entry), level_bytes(level) / abi::page_bytes};
      FrameRun* const last =
          removed.run_count == 0 ? nullptr : &removed.runs[removed.run_count - 1];
      if (last != nullptr && last->first + last->count == run.first) {
        last->count += run.count;
      } else {
        removed.runs[removed.run_count++] = run;
      }
    } else if (entry != 0) {
      const abi::Gpa child = table_of(entry);
      clear(child, level - 1, address, std::min(next, end), removed);
      if ((entry & made_here) != 0 && !has_entries(child)) {
        if (removed.table_count == removed.tables.size()) {
          forget(removed);
        }
        store(table, index, 0);
        removed.tables[removed.table_count++] = child;
      }
    }
    address = next;
  }
}

void PageTables::unmap(std::uint64_t start, std::uint64_t end, Frames& frames) {
  Removed removed;
  removed.frames = &frames;
  clear(root_, top_level, start, end, removed);
  forget(removed);
}

void PageTables::detach(std::uint64_t start, std::uint64_t end) {
  Removed removed;
  clear(root_, top_level, start, end, removed);
  forget(removed);
}

bool PageTables::map_again(std::uint64_t start, std::uint64_t end, std::uint64_t distance) {
  bool done = true;
  Leaves::visit(*this, start, end,
                [&](Place, unsigned level, std::uint64_t address, std::uint64_t entry) {
                  const std::uint64_t to = address + distance;
                  const std::uint64_t frames = level_bytes(level) / abi::page_bytes;
                  done = map(to, frame_in(entry), frames, read_write);
                  if (done) {
                    Leaves::visit(*this, to, to + level_bytes(level),
                                  [&](Place place, unsigned, std::uint64_t, std::uint64_t made) {
                                    store(place.table, place.index,
                                          (made & ~all_rights_bits) | (entry & all_rights_bits));
                                    return true;
                                  });
                  }
                  return done;
                });
  return done;
}

bool PageTables::move(std::uint64_t start, std::uint64_t end, std::uint64_t distance) {
  const bool done = map_again(start, end, distance);
  Removed removed; // the frames stay taken, here or there
  if (done) {
    clear(root_, top_level, start, end, removed);
  } else {
    clear(root_, top_level, start + distance, end + distance, removed);
  }
  forget(removed);
  return done;
}

void PageTables::fold(std::uint64_t start, std::uint64_t end) {
  Removed removed;
  for (std::uint64_t address = abi::align_down(start, abi::huge_page_bytes); address < end;
       address += abi::huge_page_bytes) {
    const Leaf first = leaf_at(address);
    if (first.entry == 0 || first.level != 0 ||
        frame_in(first.entry).value % frames_per_large != 0) {
      continue;
    }
    const std::uint64_t* const entries = store_.entries(first.place.table);
    std::size_t alike = 1;
    while (alike < per_table &&
           (entries[alike] | kept) == (first.entry | kept) + alike * abi::page_bytes) {
      ++alike;
    }
    const std::optional<Place> parent = make_place(address, large_level); // is there
    if (alike < per_table || (load(parent->table, parent->index) & made_here) == 0) {
      continue;
    }
    if (removed.table_count == removed.tables.size()) {
      forget(removed);
    }
    store(parent->table, parent->index, first.entry | large);
    removed.tables[removed.table_count++] = first.place.table;
  }
  forget(removed);
}

// ---- questions ---------------------------------------------------------------------------------

std::optional<PageTables::FrameRun> PageTables::find(std::uint64_t address) const {
  const Leaf leaf = leaf_at(address);
  if (leaf.entry == 0) {
    return std::nullopt;
  }
  const std::uint64_t inside = address % level_bytes(leaf.level) / abi::page_bytes;
  FrameRun run{frame_in(leaf.entry) + inside, level_bytes(leaf.level) / abi::page_bytes - inside};
  if (leaf.level == 0) {
    for (std::size_t index = leaf.place.index + 1; index < per_table; ++index) {
      const std::uint64_t entry = load(leaf.place.table, index);
      if (entry == 0 || frame_in(entry) != run.first + run.count) {
        break;
      }
      ++run.count;
    }
  }
  return run;
}

bool PageTables::is_hidden(std::uint64_t address) const {
  return (leaf_at(address).entry & hidden) != 0;
}

bool PageTables::refresh(std::uint64_t address, Protection rights) {
  const std::uint64_t entry = leaf_at(address).entry;
  const bool allowed =
      (entry & present) != 0 &&
      ((rights & PROT_READ) != 0 || ((rights & PROT_WRITE) != 0 && (entry & writable) != 0) ||
       ((rights & PROT_EXEC) != 0 && (entry & no_execute) == 0));
  if (allowed) {
    store_.flush_here();
  }
  return allowed;
}

bool PageTables::is_empty(std::uint64_t start, std::uint64_t end) const {
  bool empty = true;
  Leaves::visit(*this, start, end, [&](Place, unsigned, std::uint64_t, std::uint64_t) {
    empty = false;
    return false;
  });
  return empty;
}

} // namespace guest::linux
