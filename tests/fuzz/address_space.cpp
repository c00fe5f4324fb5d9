// SPDX-License-Identifier: MIT
// Any sequence of mmap, munmap, mprotect, mremap, madvise, brk and touches, with any addresses and
// sizes, in a memory that is often full: what the program has, its rights and its content are as in
// a model that knows pages only, no frame is behind two pages, and all of them go back.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "guest/linux/memory/address_space.hpp"
#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/linux/hosted_memory.hpp"

namespace {

using namespace guest::linux;
using test_support::HostedMemory;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t ram_bytes = std::uint64_t{4} << 20;
constexpr std::uint64_t break_start = HostedMemory::ram_start + ram_bytes / 2;

// Nothing is mapped from a file here.
class NoContents final : public PageContents {
 public:
  Or<std::uint64_t> load(const Content&, abi::Pfn, std::uint64_t) override {
    return std::unexpected(EIO);
  }
  Or<Shown> show(const Content&, Access) override { return std::unexpected(EFAULT); }
  void forget(std::uint32_t) override {}
};

struct Known {
  Protection protection = protection_none;
  std::uint64_t content = 0; // the first word
};
using Model = std::map<std::uint64_t, Known>;

class Program {
 public:
  explicit Program(fuzz::Bytes bytes) : bytes_(bytes) {
    memory_.serve(space_);
    space_.set_break(break_start);
    tables_ = memory_.tables_made();
  }

  void run() {
    while (!bytes_.empty()) {
      step();
      check();
    }
    fuzz::require(space_.move_break(break_start) == break_start);
    while (!model_.empty()) {
      const std::uint64_t at = model_.begin()->first;
      fuzz::require(space_.unmap(at, page) == 0);
      model_.erase(at);
    }
    check();
    fuzz::require(memory_.frames_in_use() == 0 && memory_.tables_made() <= tables_ + ram_tables);
  }

 private:
  // Of RAM, whose large leaves may have been cut.
  static constexpr std::size_t ram_tables = ram_bytes / abi::huge_page_bytes;

  [[nodiscard]] bool is_ram(std::uint64_t address) const {
    return zones_.at(address).zone == Zone::ram;
  }
  std::uint64_t place() {
    const std::uint64_t near = bytes_.below(24) * page;
    switch (bytes_.below(8)) {
    case 0:
      return HostedMemory::ram_start + near;
    case 1:
      return HostedMemory::ram_start + abi::huge_page_bytes + near - 12 * page;
    case 2:
      return memory_.ram_end() + near - 12 * page;
    case 3:
      return zones_.open_end + near - 12 * page;
    case 4:
      return bytes_.below(4) == 0 ? bytes_.take<std::uint64_t>()
                                  : memory_.ram_end() + abi::huge_page_bytes + near - 12 * page;
    case 5:
      return break_start + near;
    default:
      return places_.empty() ? near : places_[bytes_.below(places_.size())] + near % (4 * page);
    }
  }
  // Mostly a few pages; sometimes more than a table has, or nonsense.
  std::uint64_t size() {
    switch (bytes_.below(16)) {
    case 0:
      return bytes_.below(1100) * page;
    case 1:
      return bytes_.take<std::uint64_t>() >> bytes_.below(64);
    case 2:
      return bytes_.below(9 * page);
    default:
      return (1 + bytes_.below(8)) * page;
    }
  }
  static std::uint64_t whole(std::uint64_t bytes) { return (bytes + page - 1) & ~(page - 1); }
  [[nodiscard]] static bool is_range(std::uint64_t at, std::uint64_t bytes) {
    return at % page == 0 && whole(bytes) != 0 && whole(bytes) <= highest_address &&
           at <= highest_address - whole(bytes);
  }
  // Pages of the model in [at, at + bytes).
  [[nodiscard]] std::pair<Model::iterator, Model::iterator> inside(std::uint64_t at,
                                                                   std::uint64_t bytes) {
    return {model_.lower_bound(at), model_.lower_bound(at + bytes)};
  }
  [[nodiscard]] std::uint64_t pages_inside(std::uint64_t at, std::uint64_t bytes) {
    const auto [first, end] = inside(at, bytes);
    return static_cast<std::uint64_t>(std::distance(first, end));
  }
  void erase(std::uint64_t at, std::uint64_t bytes) {
    const auto [first, end] = inside(at, bytes);
    model_.erase(first, end);
  }
  // The model is of pages: what is too large for it is taken back at once.
  void add(std::uint64_t at, std::uint64_t bytes, Protection protection) {
    erase(at, whole(bytes));
    if (model_.size() + whole(bytes) / page > most_pages) {
      fuzz::require(space_.unmap(at, bytes) == 0);
      return;
    }
    for (std::uint64_t offset = 0; offset < whole(bytes); offset += page) {
      model_[at + offset] = {protection, 0};
    }
    places_.push_back(at);
  }

  void step() {
    const std::uint32_t what = bytes_.below(10);
    const std::uint64_t at = place();
    const std::uint64_t bytes = size();
    const Protection protection = bytes_.below(8);
    const auto commitment = static_cast<Commitment>(bytes_.below(3));
    switch (what) {
    case 0:
      if (const auto got = space_.map(bytes, protection, commitment, at & ~(page - 1))) {
        fuzz::require(is_range(*got, bytes) && pages_inside(*got, whole(bytes)) == 0);
        add(*got, bytes, protection);
      }
      break;
    case 1:
      if (const auto got = space_.map_at(at, bytes, protection)) {
        fuzz::require(*got == at && is_range(at, bytes));
        add(at, bytes, protection);
      }
      break;
    case 2: {
      const bool is_free = is_range(at, bytes) && pages_inside(at, whole(bytes)) == 0;
      if (space_.map_free(at, bytes, protection)) {
        fuzz::require(is_free);
        add(at, bytes, protection);
      }
      break;
    }
    case 3:
      fuzz::require((space_.unmap(at, bytes) == 0) == is_range(at, bytes));
      if (is_range(at, bytes)) {
        erase(at, whole(bytes));
      }
      break;
    case 4:
      protect(at, bytes, protection);
      break;
    case 5:
      discard(at, bytes);
      break;
    case 6:
      if (space_.populate(at, bytes) == 0) {
        fuzz::require(pages_inside(at, whole(bytes)) == whole(bytes) / page);
      }
      break;
    case 7:
      remap(at, bytes);
      break;
    case 8:
      move_break(at);
      break;
    default:
      touch(at);
    }
  }

  void protect(std::uint64_t at, std::uint64_t bytes, Protection protection) {
    const bool complete =
        is_range(at, bytes) && pages_inside(at, whole(bytes)) == whole(bytes) / page;
    const int error = space_.protect(at, bytes, protection);
    if (bytes == 0) {
      fuzz::require((error == 0) == (at % page == 0));
    } else if (!complete) {
      fuzz::require(error != 0);
    } else if (error == 0) {
      for (auto [known, end] = inside(at, whole(bytes)); known != end; ++known) {
        known->second.protection = protection;
      }
    } else {
      // Nothing can be where the guest lies.
      fuzz::require(protection != protection_none &&
                    zones_.at(at + whole(bytes) - 1).zone == Zone::closed);
    }
  }

  void discard(std::uint64_t at, std::uint64_t bytes) {
    const int error = space_.discard(at, bytes);
    fuzz::require((error == 0) ==
                  (is_range(at, bytes) && pages_inside(at, whole(bytes)) == whole(bytes) / page));
    if (is_range(at, bytes)) {
      for (auto [known, end] = inside(at, whole(bytes)); known != end; ++known) {
        known->second.content = 0;
      }
    }
  }

  void remap(std::uint64_t at, std::uint64_t bytes) {
    const std::uint64_t new_bytes = size();
    const bool fixed = bytes_.below(3) == 0;
    const std::uint64_t to = place();
    const auto move =
        fixed || bytes_.below(2) != 0 ? AddressSpace::Move::yes : AddressSpace::Move::no;
    const auto got =
        space_.remap(at, bytes, new_bytes, move, fixed ? std::optional(to) : std::nullopt);
    if (!got) {
      return;
    }
    fuzz::require(is_range(at, bytes) && is_range(*got, new_bytes) && (!fixed || *got == to));
    std::vector<Known> moved;
    for (auto [known, end] = inside(at, whole(bytes)); known != end; ++known) {
      moved.push_back(known->second);
    }
    fuzz::require(moved.size() == whole(bytes) / page);
    erase(at, whole(bytes));
    if (model_.size() + whole(new_bytes) / page > most_pages) {
      fuzz::require(space_.unmap(*got, new_bytes) == 0);
      erase(*got, whole(new_bytes));
      return;
    }
    fuzz::require(fixed || pages_inside(*got, whole(new_bytes)) == 0);
    erase(*got, whole(new_bytes));
    for (std::uint64_t index = 0; index < whole(new_bytes) / page; ++index) {
      model_[*got + index * page] =
          index < moved.size() ? moved[index] : Known{moved.front().protection, 0};
    }
    places_.push_back(*got);
  }

  void move_break(std::uint64_t wanted) {
    const std::uint64_t before = whole(break_);
    const std::uint64_t now = space_.move_break(wanted);
    fuzz::require(now == wanted || now == break_);
    break_ = now;
    if (whole(now) > before) {
      fuzz::require(pages_inside(before, whole(now) - before) == 0);
      for (std::uint64_t at = before; at < whole(now); at += page) {
        model_[at] = {read_write, 0};
      }
    } else if (whole(now) < before) {
      erase(whole(now), before - whole(now));
    }
  }

  void touch(std::uint64_t at) {
    const bool writes = bytes_.below(2) != 0;
    const Resolution result = space_.resolve(at, writes ? Access::write : Access::execute);
    const auto known = model_.find(at & ~(page - 1));
    const Protection needed = writes ? PROT_WRITE : PROT_EXEC;
    if (known == model_.end() || at > highest_address) {
      fuzz::require(result == Resolution::unmapped);
    } else if ((known->second.protection & needed) == 0) {
      fuzz::require(result == Resolution::forbidden);
    } else if (result == Resolution::out_of_memory) {
      fuzz::require(memory_.free_count() == 0 && !memory_.walk(at));
    } else {
      fuzz::require(result == Resolution::resolved && memory_.walk(at).has_value());
      if (writes) {
        known->second.content = ++last_content_;
        std::memcpy(memory_.at({memory_.walk(at)->gpa}), &last_content_, sizeof last_content_);
      }
    }
  }

  void check() {
    std::set<std::uint64_t> frames;
    for (const auto& [at, known] : model_) {
      fuzz::require(space_.allows(at, page, known.protection));
      for (const Protection right : {PROT_READ, PROT_WRITE, PROT_EXEC}) {
        fuzz::require(space_.allows(at, page, right) == ((known.protection & right) != 0));
      }
      const bool resident = space_.is_resident(at);
      const auto meaning = memory_.walk(at);
      fuzz::require(meaning.has_value() == (resident && known.protection != protection_none));
      if (meaning) {
        fuzz::require(meaning->writable == ((known.protection & PROT_WRITE) != 0));
        fuzz::require(meaning->executable == ((known.protection & PROT_EXEC) != 0));
      }
      std::uint64_t content = 0;
      if (resident) {
        const std::uint64_t gpa =
            is_ram(at) ? at : abi::to_gpa(memory_.tables().find(at)->first).value;
        fuzz::require(frames.insert(gpa).second && gpa - HostedMemory::ram_start < ram_bytes);
        std::memcpy(&content, memory_.at({gpa}), sizeof content);
      }
      fuzz::require(content == known.content);
    }
    fuzz::require(memory_.frames_in_use() == frames.size());
    fuzz::require(space_.mapped_bytes() == model_.size() * page);
  }

  static constexpr std::size_t most_pages = 2000;

  fuzz::Bytes bytes_;
  HostedMemory memory_{ram_bytes};
  AddressZones zones_ = memory_.zones();
  NoContents contents_;
  AreaList areas_;
  AddressSpace space_{memory_, memory_.tables(), areas_, contents_, zones_};
  Model model_;
  std::vector<std::uint64_t> places_;
  std::uint64_t break_ = break_start;
  std::uint64_t last_content_ = 0;
  std::size_t tables_ = 0;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program(fuzz::Bytes(data, size)).run();
  return 0;
}
