// SPDX-License-Identifier: MIT
// Any bytes around SYSCALL instructions, patched, restored and written anew in any order: nothing
// beyond the program's code is looked at, what was moved is the same to a decoder of the whole
// architecture and leads back, a jump of the program's to anything that was an instruction's
// beginning goes on there, and what is restored is as it was.
#include <Zydis/Zydis.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "guest/linux/sites/site_patcher.hpp"
#include "tests/fuzz/fuzz_bytes.hpp"

namespace {

using guest::linux::CodePages;
using guest::linux::SitePatcher;

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t jump_bytes = 5;
constexpr SitePatcher::Enter enter{0xff, 0x24, 0x25, 0, 0, 0x10, 0, 0x90};

std::uint8_t* code_at(std::uint64_t address) {
  return reinterpret_cast<std::uint8_t*>(address);
}

// A program's addresses, most of which nothing is behind; its code is the last thing on one page.
class Arena final : public CodePages {
 public:
  static constexpr std::uint64_t bytes = std::uint64_t{1} << 33;

  Arena()
      : base_(reinterpret_cast<std::uint64_t>(::mmap(
            nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    fuzz::require(claim_page(text()));
  }
  ~Arena() { ::munmap(code_at(base_), bytes); }

  [[nodiscard]] std::uint64_t text() const { return base_ + bytes / 2; }
  bool claim_page(std::uint64_t address) override {
    if (address - base_ >= bytes || full || !taken_.insert(address).second) {
      return false;
    }
    fuzz::require(::mprotect(code_at(address), page, PROT_READ | PROT_WRITE) == 0);
    return true;
  }
  void release_page(std::uint64_t address) override {
    fuzz::require(taken_.erase(address) == 1 && ::mprotect(code_at(address), page, PROT_NONE) == 0);
  }
  void write(std::uint64_t address, std::span<const std::uint8_t> code) override {
    std::memcpy(code_at(address), code.data(), code.size());
  }

  bool full = false;

 private:
  std::uint64_t base_;
  std::set<std::uint64_t> taken_;
};

struct Decoded {
  ZydisDecodedInstruction instruction{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
};

std::optional<Decoded> decode(std::uint64_t address, std::size_t bytes) {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder made;
    ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  Decoded found;
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code_at(address), bytes, &found.instruction,
                                             found.operands.data()))
             ? std::optional(found)
             : std::nullopt;
}

// Where the instruction's first operand that is relative to it leads.
std::uint64_t target(const Decoded& found, std::uint64_t address) {
  for (const ZydisDecodedOperand& operand : found.operands) {
    ZyanU64 to = 0;
    if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&found.instruction, &operand, address, &to))) {
      return to;
    }
  }
  return 0;
}

class Program {
 public:
  explicit Program(fuzz::Bytes bytes) : bytes_(bytes) { load(); }

  void run() {
    while (!bytes_.empty()) {
      switch (bytes_.below(8)) {
      case 0:
        restore(bytes_.below(page + 8), bytes_.below(64));
        break;
      case 1:
        load();
        break;
      case 2:
        arena_.full = !arena_.full;
        break;
      default:
        patch();
      }
    }
    restore(0, page);
    fuzz::require(patcher_.sites() == 0);
    fuzz::require(std::memcmp(code_at(arena_.text()), code_.data(), page) == 0);
  }

 private:
  // New code, without a word to the patcher: SYSCALLs with what compilers put behind them, such
  // within the operands of others, and anything.
  void load() {
    static constexpr std::array<std::array<std::uint8_t, 8>, 8> usual{{
        {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77, 0x10},
        {0x48, 0x3d, 0x0f, 0x05, 0x0f, 0x05, 0xc3, 0x90},
        {0xc3, 0x66, 0x2e, 0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x48, 0x89, 0xf8, 0x5b, 0x41, 0x5c, 0xc3, 0x90},
        {0x85, 0xc0, 0x0f, 0x05, 0x48, 0x85, 0xc0, 0xc3},
        {0x48, 0xb8, 0x0f, 0x05, 0x48, 0x89, 0xf8, 0xc3},
        {0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, 0xc3},
        {0x83, 0xf8, 0xda, 0x0f, 0x05, 0xf7, 0xd8, 0xc3},
    }};
    const std::size_t start = bytes_.below(page);
    last_ = start;
    for (std::size_t at = start; at < page && !bytes_.empty();) {
      const std::uint32_t kind = bytes_.take<std::uint8_t>() % 12;
      std::array<std::uint8_t, 10> run{0x0f, 0x05};
      for (std::size_t index = 2; index < run.size(); ++index) {
        run[index] = kind < usual.size() ? usual[kind][index - 2] : bytes_.take<std::uint8_t>();
      }
      const std::size_t used = std::min(page - at, std::size_t{3} + kind % 8);
      std::copy_n(run.begin(), used, code_.begin() + static_cast<std::ptrdiff_t>(at));
      at += used;
      if (bytes_.take<std::uint8_t>() % 4 == 0) {
        break;
      }
    }
    code_[page - 2] = 0x0f; // the very last bytes
    code_[page - 1] = 0x05;
    std::memcpy(code_at(arena_.text()), code_.data(), page);
  }

  void restore(std::uint64_t offset, std::uint64_t bytes) {
    patcher_.restore(arena_.text() + offset, arena_.text() + offset + bytes);
    for (std::uint64_t at = offset; at < std::min(page, offset + bytes); ++at) {
      fuzz::require(*code_at(arena_.text() + at) == code_[at]);
    }
  }

  void patch() {
    // At one of them, or, as a program can jump anywhere, at what looks like one.
    std::uint64_t at = bytes_.below(4) == 0 ? bytes_.below(page - 1) : last_ + bytes_.below(12);
    while (at + 2 < page &&
           (*code_at(arena_.text() + at) != 0x0f || *code_at(arena_.text() + at + 1) != 0x05)) {
      ++at;
    }
    if (at + 2 > page) {
      last_ = 0;
      return;
    }
    last_ = at;
    const std::uint64_t site = arena_.text() + at;
    const std::size_t readable = std::min(page - at, SitePatcher::site_bytes);
    std::array<std::uint8_t, SitePatcher::site_bytes> before{};
    std::memcpy(before.data(), code_at(site), readable);
    const auto back = patcher_.patch(site + 2, readable);
    if (!back) {
      return;
    }
    // Sites that it overlaps have been given back first.
    std::memcpy(before.data(), code_.data() + at, readable);
    check(site, *back, std::span(before).first(readable));
  }

  void check(std::uint64_t site, std::uint64_t back, std::span<const std::uint8_t> before) {
    const auto jump = decode(site, jump_bytes);
    fuzz::require(jump && jump->instruction.mnemonic == ZYDIS_MNEMONIC_JMP &&
                  jump->instruction.length == jump_bytes);
    const std::uint64_t trampoline = target(*jump, site);
    const auto load = decode(trampoline, 7);
    fuzz::require(load && load->instruction.mnemonic == ZYDIS_MNEMONIC_LEA &&
                  load->operands[0].reg.value == ZYDIS_REGISTER_RCX &&
                  target(*load, trampoline) == back);
    fuzz::require(back == trampoline + 7 + enter.size() &&
                  std::memcmp(code_at(trampoline + 7), enter.data(), enter.size()) == 0);
    std::uint64_t moved = 2;
    while (moved < jump_bytes) {
      const std::uint64_t place = back + moved - 2;
      const auto copy = decode(place, 15);
      fuzz::require(copy && moved + copy->instruction.length <= before.size());
      fuzz::require(std::memcmp(code_at(place), &before[moved], copy->instruction.length) == 0);
      const bool relative = (copy->instruction.attributes & ZYDIS_ATTRIB_IS_RELATIVE) != 0;
      fuzz::require(!relative || copy->instruction.mnemonic == ZYDIS_MNEMONIC_NOP);
      fuzz::require(copy->instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE ||
                    copy->instruction.mnemonic == ZYDIS_MNEMONIC_RET);
      fuzz::require(patcher_.resume(site + moved) == place);
      fuzz::require(!decode(site + moved, 1)); // one illegal byte is enough
      moved += copy->instruction.length;
    }
    const std::uint64_t end = back + moved - 2;
    const auto leave = decode(end, jump_bytes);
    fuzz::require(leave && leave->instruction.mnemonic == ZYDIS_MNEMONIC_JMP &&
                  target(*leave, end) == site + moved);
    fuzz::require(std::memcmp(code_at(site + jump_bytes), &before[jump_bytes],
                              std::min<std::size_t>(before.size(), moved) - jump_bytes) == 0);
    fuzz::require(!patcher_.resume(site) && !patcher_.resume(site + 1));
  }

  fuzz::Bytes bytes_;
  Arena arena_;
  SitePatcher patcher_{arena_, enter};
  std::array<std::uint8_t, page> code_{};
  std::uint64_t last_ = 0; // where it has patched
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program(fuzz::Bytes(data, size)).run();
  return 0;
}
