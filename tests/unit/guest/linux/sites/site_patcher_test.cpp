// SPDX-License-Identifier: MIT
#include "guest/linux/sites/site_patcher.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

namespace {

using guest::linux::CodePages;
using guest::linux::SitePatcher;

constexpr std::uint64_t page = abi::page_bytes;
// Far more than jumps have to reach, and nothing is behind most of it.
constexpr std::uint64_t arena_bytes = std::uint64_t{1} << 33;

// A program's memory, some of it taken already; what is patched runs on this processor.
class Arena final : public CodePages {
 public:
  Arena()
      : start_(static_cast<std::uint8_t*>(
            mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    REQUIRE(start_ != MAP_FAILED);
  }
  ~Arena() { munmap(start_, arena_bytes); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool claim_page(std::uint64_t address) override {
    ++claims;
    return address - base() < arena_bytes && !full && taken.insert(address).second;
  }
  void release_page(std::uint64_t address) override { REQUIRE(taken.erase(address) == 1); }
  void write(std::uint64_t address, std::span<const std::uint8_t> code) override {
    ++writes;
    std::memcpy(at(address), code.data(), code.size());
  }

  [[nodiscard]] std::uint64_t base() const { return reinterpret_cast<std::uint64_t>(start_); }
  [[nodiscard]] static std::uint8_t* at(std::uint64_t address) {
    return reinterpret_cast<std::uint8_t*>(address);
  }
  // Puts code there, and says where its SYSCALL ends.
  std::uint64_t put(std::uint64_t address, const std::vector<std::uint8_t>& code) {
    std::memcpy(at(address), code.data(), code.size());
    for (std::uint64_t frame = address / page; frame <= (address + code.size()) / page; ++frame) {
      taken.insert(frame * page);
    }
    const auto call = std::ranges::search(code, std::array<std::uint8_t, 2>{0x0f, 0x05});
    return address + static_cast<std::uint64_t>(call.begin() - code.begin()) + 2;
  }

  std::set<std::uint64_t> taken;
  unsigned claims = 0;
  unsigned writes = 0;
  bool full = false;

 private:
  std::uint8_t* start_;
};

// What enters the kernel here: adds 1000 to RAX and goes to RCX. Its address is in a word below 2
// GiB, as GS-relative addresses are in the guest.
class Kernel {
 public:
  Kernel()
      : word_(
            static_cast<std::uint64_t*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0))) {
    REQUIRE(word_ != MAP_FAILED);
    // addq $1000, %rax; jmp *%rcx
    static constexpr auto code =
        std::to_array<std::uint8_t>({0x48, 0x05, 0xe8, 0x03, 0x00, 0x00, 0xff, 0xe1});
    *word_ = reinterpret_cast<std::uint64_t>(word_ + 8);
    std::memcpy(word_ + 8, code.data(), code.size());
  }
  ~Kernel() { munmap(word_, 2 * page); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // JMP *word, and a NOP that is never reached.
  [[nodiscard]] SitePatcher::Enter enter() const {
    SitePatcher::Enter code{0xff, 0x24, 0x25};
    const auto address = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(word_));
    std::memcpy(code.data() + 3, &address, sizeof address);
    code[7] = 0x90;
    return code;
  }

 private:
  std::uint64_t* word_;
};

long call(std::uint64_t address, long argument) {
  return reinterpret_cast<long (*)(long)>(address)(argument);
}

// movq %rdi, %rax; syscall; then what is given
std::vector<std::uint8_t> site(std::initializer_list<std::uint8_t> behind) {
  std::vector<std::uint8_t> code{0x48, 0x89, 0xf8, 0x0f, 0x05};
  code.insert(code.end(), behind);
  code.resize(code.size() + SitePatcher::site_bytes, 0xcc);
  return code;
}
// With cmpq $-4096, %rax; ret.
std::vector<std::uint8_t> compare_site() {
  return site({0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0xc3});
}

TEST_CASE("a patched site enters the kernel by a jump and goes on behind it") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32) + 123;
  const std::uint64_t behind = arena.put(code, compare_site());

  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  CHECK(patcher.sites() == 1);
  CHECK(call(code, 7) == 1007);
  static_cast<void>(call(*back, 0)); // it returns; RAX is whatever it was
  CHECK(Arena::at(behind - 2)[0] == 0xe9);
}

TEST_CASE(
    "when the moved instructions go, their sites are as they were, and others find new places") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32) + 123;
  const std::uint64_t behind = arena.put(code, compare_site());
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  const std::uint64_t moved = abi::align_down(*back, page);
  patcher.restore(moved, moved + page);
  CHECK(patcher.sites() == 0);
  CHECK(Arena::at(behind - 2)[0] == 0x0f);
  arena.release_page(moved);
  // As at first: a page is claimed again.
  const std::size_t taken = arena.taken.size();
  REQUIRE(patcher.patch(behind, SitePatcher::site_bytes).has_value());
  CHECK(arena.taken.size() == taken + 1);
  CHECK(call(code, 7) == 1007);
}

TEST_CASE("where an instruction began, a jump finds an illegal opcode and goes on at its copy") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  // ret; nopl 0(%rax,%rax,1): two beginnings
  const std::uint64_t behind = arena.put(code, site({0xc3, 0x0f, 0x1f, 0x44, 0x00, 0x00}));
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  CHECK(patcher.resume(behind) == *back);
  CHECK(patcher.resume(behind + 1) == *back + 1);
  CHECK(*Arena::at(*back) == 0xc3);
  CHECK(*Arena::at(*back + 1) == 0x0f);
  static constexpr auto illegal =
      std::to_array<std::uint8_t>({0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
                                   0x60, 0x61, 0x9a, 0xce, 0xea});
  CHECK(std::ranges::count(illegal, *Arena::at(behind)) == 1);
  CHECK(std::ranges::count(illegal, *Arena::at(behind + 1)) == 1);
  SUBCASE("but nowhere else") {
    CHECK_FALSE(patcher.resume(behind - 2));
    CHECK_FALSE(patcher.resume(behind - 1));
    CHECK_FALSE(patcher.resume(behind + 2));
    CHECK_FALSE(patcher.resume(0));
    CHECK_FALSE(patcher.resume(UINT64_MAX));
  }
  SUBCASE("and not once the program has written there") {
    *Arena::at(behind + 2) ^= 1;
    CHECK_FALSE(patcher.resume(behind));
  }
}

TEST_CASE("what is restored is as it was, and can be patched again") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  const std::vector<std::uint8_t> before = compare_site();
  const std::uint64_t behind = arena.put(code, before);
  for (int round = 0; round < 1000; ++round) {
    REQUIRE(patcher.patch(behind, SitePatcher::site_bytes).has_value());
    SUBCASE("whole") {
      patcher.restore(code, code + page);
    }
    SUBCASE("its first byte") {
      patcher.restore(behind - 3, behind - 1);
    }
    SUBCASE("its last byte") {
      patcher.restore(behind + 2, behind + 3);
    }
    SUBCASE("not what ends before it or begins behind it") {
      patcher.restore(code, behind - 2);
      patcher.restore(behind + 3, code + page);
      patcher.restore(behind, behind - 2); // no range at all
      CHECK(patcher.sites() == 1);
      patcher.restore(code, code + page);
    }
    REQUIRE(patcher.sites() == 0);
    REQUIRE(std::memcmp(Arena::at(code), before.data(), before.size()) == 0);
  }
  CHECK(arena.claims < 64); // places are used again
}

TEST_CASE("what is moved is as the program wrote it, even if there was a site within an operand") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  // movabs $imm64, %rax, with a SYSCALL and what can be moved behind it in the immediate
  const std::vector<std::uint8_t> before =
      site({0x48, 0xb8, 0x11, 0x0f, 0x05, 0x48, 0x89, 0xf8, 0xc3, 0x90, 0xc3});
  const std::uint64_t behind = arena.put(code, before);
  REQUIRE(patcher.patch(behind + 5, SitePatcher::site_bytes).has_value());
  CHECK(*Arena::at(behind + 3) == 0xe9);
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  CHECK(std::memcmp(Arena::at(*back), &before[5], 10) == 0);
  CHECK(patcher.sites() == 1);
}

TEST_CASE("what the program has written over a site stays when it is restored") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  const std::uint64_t behind = arena.put(code, compare_site());
  REQUIRE(patcher.patch(behind, SitePatcher::site_bytes).has_value());
  *Arena::at(behind - 1) = 0x33;
  patcher.restore(code, code + page);
  CHECK(patcher.sites() == 0);
  CHECK(*Arena::at(behind - 1) == 0x33);
}

TEST_CASE("a site whose code is written anew, again and again, is one site") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  for (int round = 0; round < 10000; ++round) {
    const std::uint64_t behind = arena.put(code, compare_site());
    REQUIRE(patcher.patch(behind, SitePatcher::site_bytes).has_value());
    REQUIRE(call(code, round) == 1000 + round);
  }
  CHECK(patcher.sites() == 1);
  CHECK(arena.claims < 64);
}

TEST_CASE("sites everywhere are patched, with few pages") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  std::mt19937_64 random(1); // NOLINT
  const std::uint64_t text = arena.base() + (std::uint64_t{1} << 32);
  constexpr unsigned count = 300;
  std::vector<std::uint64_t> places;
  for (unsigned index = 0; index < count; ++index) {
    places.push_back(arena.put(text + index * page + random() % (page - 100), compare_site()));
  }
  const std::size_t own = arena.taken.size();
  for (const std::uint64_t behind : places) {
    REQUIRE(patcher.patch(behind, SitePatcher::site_bytes).has_value());
  }
  for (const std::uint64_t behind : places) {
    REQUIRE(call(behind - 5, 5) == 1005);
  }
  CHECK(arena.taken.size() - own < 16);
}

TEST_CASE(
    "who comes back from a site that another thread has had patched goes on where that one did") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  const std::uint64_t behind = arena.put(code, compare_site());
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  const unsigned writes = arena.writes;
  CHECK(patcher.patch(behind, SitePatcher::site_bytes) == back);
  CHECK(arena.writes == writes);
  CHECK(patcher.sites() == 1);
}

TEST_CASE("a trampoline that a thread may be in is nobody else's, though its site is gone") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  const std::uint64_t behind = arena.put(code, compare_site());
  patcher.keep_trampolines();
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  std::array<std::uint8_t, 16> trampoline{};
  std::memcpy(trampoline.data(), Arena::at(*back), trampoline.size());
  patcher.restore(code, code + page);
  CHECK(patcher.sites() == 0);
  for (unsigned index = 1; index < 60; ++index) { // in the same page
    const std::uint64_t other = arena.put(code + index * 64, compare_site());
    REQUIRE(patcher.patch(other, SitePatcher::site_bytes).has_value());
  }
  CHECK(std::memcmp(trampoline.data(), Arena::at(*back), trampoline.size()) == 0);
  static_cast<void>(call(*back, 0)); // it returns from where the site was
}

TEST_CASE("trampolines that stay are bounded: code that comes and goes is not patched for ever") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  patcher.keep_trampolines();
  std::size_t patched = 0;
  while (patcher.patch(arena.put(code, compare_site()), SitePatcher::site_bytes)) {
    REQUIRE(++patched <= SitePatcher::most_sites);
    patcher.restore(code, code + page);
  }
  CHECK(patched == SitePatcher::most_sites);
}

TEST_CASE("where nothing can be had above, as for libraries at the top, it is looked for below") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + arena_bytes - page;
  // movl %ebx, %edi; movq %rax, -8(%rsp); ret: two instructions begin within the jump
  const std::uint64_t behind =
      arena.put(code, site({0x89, 0xdf, 0x48, 0x89, 0x44, 0x24, 0xf8, 0xc3}));
  const auto back = patcher.patch(behind, SitePatcher::site_bytes);
  REQUIRE(back.has_value());
  CHECK(*back < code);
  CHECK(call(code, 7) == 1007);
}

TEST_CASE("a site stays as it is") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t code = arena.base() + (std::uint64_t{1} << 32);
  std::size_t readable = SitePatcher::site_bytes;
  std::vector<std::uint8_t> bytes = compare_site();
  SUBCASE("when a branch follows") {
    bytes = site({0x75, 0x02, 0x90, 0x90, 0xc3});
  }
  SUBCASE("when another function may begin behind it") {
    bytes = site({0xc3, 0x48, 0x89, 0xf8});
  }
  SUBCASE("when what follows is relative to it") {
    bytes = site({0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, 0xc3});
  }
  SUBCASE("when what follows is not the program's") {
    readable = 2 + 5;
  }
  SUBCASE("when even the call is not") {
    readable = 1;
  }
  SUBCASE("when nothing is") {
    readable = 0;
  }
  SUBCASE("when there is no room") {
    arena.full = true;
  }
  const std::uint64_t behind = arena.put(code, bytes);
  for (int round = 0; round < 3; ++round) {
    CHECK_FALSE(patcher.patch(behind, readable));
  }
  CHECK(patcher.sites() == 0);
  CHECK(std::memcmp(Arena::at(code), bytes.data(), bytes.size()) == 0);
  CHECK(arena.writes == 0);
  CHECK(arena.claims <= 2 * 1024); // it is looked for once
}

TEST_CASE("there is a limit to sites, and the rest stays as it is") {
  Arena arena;
  const Kernel kernel;
  SitePatcher patcher(arena, kernel.enter());
  const std::uint64_t text = arena.base() + (std::uint64_t{1} << 32);
  std::vector<std::uint64_t> places;
  for (unsigned index = 0; index < 5000; ++index) {
    places.push_back(arena.put(text + index * 16, compare_site()));
  }
  std::size_t patched = 0;
  for (const std::uint64_t behind : places) {
    patched += patcher.patch(behind, SitePatcher::site_bytes) ? 1 : 0;
  }
  CHECK(patched == 4096);
  CHECK(call(text + 16 * 4095, 1) == 1001);
}

} // namespace
