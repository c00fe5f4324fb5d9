// SPDX-License-Identifier: MIT
#include "guest/linux/sites/site_patcher.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "guest/linux/sites/movable_code.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t call_bytes = 2; // SYSCALL
// One-byte opcodes that 64-bit mode does not have (SDM vol. 2, appendix A), and no extension is
// known to want: PUSH and POP of segments, DAA, DAS, AAA, AAS, PUSHA, POPA, CALL and JMP far, INTO.
constexpr auto illegal =
    std::to_array<std::uint8_t>({0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
                                 0x60, 0x61, 0x9a, 0xce, 0xea});
// LEA to RCX, relative to the next instruction.
constexpr auto load_return = std::to_array<std::uint8_t>({0x48, 0x8d, 0x0d});
constexpr auto jump = std::to_array<std::uint8_t>({0xe9});
// A page for trampolines is looked for so often above a site, and as often below.
constexpr unsigned most_claims = 1024;

bool is_illegal(std::uint8_t byte) {
  return std::ranges::find(illegal, byte) != illegal.end();
}

const std::uint8_t* code_at(std::uint64_t address) {
  return reinterpret_cast<const std::uint8_t*>(address); // NOLINT(performance-no-int-to-ptr)
}

// Code that will lie at an address.
class Assembler {
 public:
  explicit Assembler(std::uint64_t address) : address_(address) {}

  void put(std::span<const std::uint8_t> bytes) {
    assert(bytes.size() <= code_.size() - bytes_);
    std::ranges::copy(bytes, code_.begin() + static_cast<std::ptrdiff_t>(bytes_));
    bytes_ += bytes.size();
  }
  // The end of an instruction: its distance to `target`.
  void put_distance(std::uint64_t target) {
    const std::uint64_t from = address() + sizeof(std::int32_t);
    const auto distance = static_cast<std::uint32_t>(target - from);
    put(std::bit_cast<std::array<std::uint8_t, sizeof distance>>(distance));
  }
  [[nodiscard]] std::uint64_t address() const { return address_ + bytes_; }
  [[nodiscard]] std::span<const std::uint8_t> code() const {
    return std::span(code_).first(bytes_);
  }

 private:
  std::uint64_t address_;
  std::size_t bytes_ = 0;
  std::array<std::uint8_t, 64> code_{};
};

} // namespace

// Instructions behind the SYSCALL until the jump has room. Behind a return only padding is moved:
// another function's beginning is often jumped to.
std::optional<SitePatcher::Moved> SitePatcher::moved_at(std::span<const std::uint8_t> site) {
  if (site.size() < call_bytes || site[0] != 0x0f || site[1] != 0x05) {
    return std::nullopt;
  }
  Moved moved;
  bool returned = false;
  for (std::size_t at = call_bytes; at < jump_bytes;) {
    const auto instruction = movable_instruction(site.subspan(at));
    if (!instruction || (returned && instruction->kind != MovableInstruction::Kind::nothing)) {
      return std::nullopt;
    }
    returned = returned || instruction->kind == MovableInstruction::Kind::ret;
    moved.begins[at] = true;
    at += instruction->bytes;
    moved.bytes = static_cast<std::uint8_t>(at - call_bytes);
  }
  return moved;
}

// The program may have written to its code since.
bool SitePatcher::is_as_patched(const Site& site) {
  return std::memcmp(code_at(site.address), site.jump.data(), jump_bytes) == 0;
}

// Whether a jump over `distance` has illegal opcodes where moved instructions began.
bool SitePatcher::is_possible(std::int64_t distance, const Moved& moved) {
  if (distance != static_cast<std::int32_t>(distance)) {
    return false;
  }
  for (std::size_t at = call_bytes; at < jump_bytes; ++at) {
    const auto byte = static_cast<std::uint8_t>(distance >> (8 * (at - 1)));
    if (moved.begins[at] && !is_illegal(byte)) {
      return false;
    }
  }
  return true;
}

std::size_t SitePatcher::trampoline_bytes(const Moved& moved) {
  return load_return.size() + sizeof(std::int32_t) + std::tuple_size_v<Enter> + moved.bytes +
         jump_bytes;
}

std::optional<std::uint64_t> SitePatcher::place_in(Page& page, std::uint64_t address,
                                                   const Moved& moved) {
  const std::size_t units = (trampoline_bytes(moved) + unit_bytes - 1) / unit_bytes;
  std::size_t free = 0;
  for (std::size_t unit = page_units; unit-- > 0;) {
    free = page.used.test(unit) ? 0 : free + 1;
    const std::uint64_t place = page.address + unit * unit_bytes;
    if (free >= units &&
        is_possible(static_cast<std::int64_t>(place - (address + jump_bytes)), moved)) {
      return place;
    }
  }
  return std::nullopt;
}

// The nearest page that is free and where a trampoline can be.
SitePatcher::Page* SitePatcher::new_page(std::uint64_t address, const Moved& moved) {
  const std::uint64_t from = address + jump_bytes;
  std::uint64_t tried = UINT64_MAX;
  // Claims in vain: what cannot be had above may be had below.
  std::array<unsigned, 2> claims{};
  // Distances whose second byte is illegal, by their other bytes: 0, -1, 1, -2...
  for (std::int64_t step = 0; step < 2 << 15; ++step) {
    const std::int64_t high = step % 2 == 0 ? step / 2 : -(step + 1) / 2;
    // The same check for the two upper bytes, before all of the lower ones are tried.
    if (!is_possible(high * 0x10000 + std::int64_t{illegal.front()} * 0x100, moved)) {
      continue;
    }
    for (const std::uint8_t second : illegal) {
      const std::int64_t distance = high * 0x10000 + std::int64_t{second} * 0x100;
      const std::uint64_t page =
          abi::align_down(from + static_cast<std::uint64_t>(distance), abi::page_bytes);
      // The window of 256 bytes may go on in the next page; what is there is found by others.
      if (page == tried || !is_possible(distance, moved) || static_cast<std::int64_t>(page) <= 0) {
        continue;
      }
      tried = page;
      unsigned& tries = claims[high < 0 ? 1 : 0];
      if (++tries > most_claims) {
        break;
      }
      if (code_.claim_page(page)) {
        pages_.push_back({.address = page, .used = {}});
        if (place_in(pages_.back(), address, moved)) {
          return &pages_.back();
        }
        pages_.pop_back();
        code_.release_page(page);
      }
    }
  }
  return nullptr;
}

std::optional<std::uint64_t> SitePatcher::place_for(std::uint64_t address, const Moved& moved) {
  for (Page& page : pages_) {
    if (const auto place = place_in(page, address, moved)) {
      return place;
    }
  }
  Page* const page = new_page(address, moved);
  return page == nullptr ? std::nullopt : place_in(*page, address, moved);
}

void SitePatcher::set_used(std::uint64_t trampoline, std::size_t bytes, bool used) {
  for (Page& page : pages_) {
    if (trampoline - page.address < abi::page_bytes) {
      const std::size_t first = (trampoline - page.address) / unit_bytes;
      for (std::size_t unit = 0; unit * unit_bytes < bytes; ++unit) {
        page.used.set(first + unit, used);
      }
    }
  }
}

std::optional<std::uint64_t> SitePatcher::patch(std::uint64_t behind, std::size_t readable) {
  const std::uint64_t address = behind - call_bytes;
  // Another thread's call may have come back from there first.
  const auto patched = std::ranges::find(sites_, address, &Site::address);
  if (patched != sites_.end() && is_as_patched(*patched)) {
    return patched->back;
  }
  // Else the program has written there since.
  forget(address, address + jump_bytes);
  if (sites_.size() + kept_ >= most_sites ||
      std::ranges::find(refused_, address) != refused_.end()) {
    return std::nullopt;
  }
  const std::span code(code_at(address), std::min(readable, site_bytes));
  // What is moved may hold a site itself, within an operand: it is moved as the program wrote it.
  std::optional<Moved> moved = moved_at(code);
  for (std::uint64_t end = address + jump_bytes; moved && behind + moved->bytes > end;) {
    end = behind + moved->bytes;
    forget(address, end);
    moved = moved_at(code);
  }
  const auto place = moved ? place_for(address, *moved) : std::nullopt;
  if (!place) {
    refused_[next_refused_] = address;
    next_refused_ = (next_refused_ + 1) % most_refused;
    return std::nullopt;
  }
  Site site{.address = address, .trampoline = *place, .back = 0, .moved = *moved};
  set_used(*place, trampoline_bytes(*moved), true);

  Assembler trampoline(*place);
  trampoline.put(load_return);
  site.back = *place + load_return.size() + sizeof(std::int32_t) + enter_.size();
  trampoline.put_distance(site.back);
  trampoline.put(enter_);
  assert(trampoline.address() == site.back);
  trampoline.put(code.subspan(call_bytes, moved->bytes));
  trampoline.put(jump);
  trampoline.put_distance(behind + moved->bytes);
  code_.write(*place, trampoline.code());

  Assembler patch(address);
  patch.put(jump);
  patch.put_distance(*place);
  std::ranges::copy(code.first(jump_bytes), site.before.begin());
  std::ranges::copy(patch.code(), site.jump.begin());
  code_.write(address, site.jump);
  sites_.push_back(site);
  lowest_ = std::min(lowest_, address);
  highest_ = std::max(highest_, address);
  return site.back;
}

std::optional<std::uint64_t> SitePatcher::resume(std::uint64_t address) const {
  for (const Site& site : sites_) {
    const std::uint64_t at = address - site.address;
    if (at < jump_bytes && site.moved.begins[at] && is_as_patched(site)) {
      return site.back + at - call_bytes;
    }
  }
  return std::nullopt;
}

std::uint64_t SitePatcher::call_before(std::uint64_t behind) const {
  const auto site = std::ranges::find(sites_, behind, &Site::back);
  return site == sites_.end() ? behind - call_bytes : site->trampoline;
}

void SitePatcher::restore(std::uint64_t start, std::uint64_t end) {
  const auto goes = [&](const Page& page) {
    return page.address < end && page.address + abi::page_bytes > start;
  };
  if ((end <= lowest_ || start > highest_ + jump_bytes) && std::ranges::none_of(pages_, goes)) {
    return;
  }
  forget(start, end);
  std::erase_if(pages_, goes);
  refused_.fill(0); // something else may lie there next
}

void SitePatcher::forget(std::uint64_t start, std::uint64_t end) {
  std::erase_if(sites_, [&](const Site& site) {
    const auto reaches = [&](std::uint64_t address, std::size_t bytes) {
      return address + bytes > start && address < end;
    };
    if (!reaches(site.address, jump_bytes) &&
        !reaches(site.trampoline, trampoline_bytes(site.moved))) {
      return false;
    }
    if (is_as_patched(site)) {
      code_.write(site.address, site.before);
    }
    set_used(site.trampoline, trampoline_bytes(site.moved), keeps_trampolines_);
    kept_ += keeps_trampolines_ ? 1 : 0;
    return true;
  });
}

} // namespace guest::linux
