// SPDX-License-Identifier: MIT
#include "tests/support/linux/hosted_memory.hpp"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace test_support {

namespace {

constexpr std::uint64_t page = abi::page_bytes;
constexpr std::uint64_t present = 1;
constexpr std::uint64_t writable = 2;
constexpr std::uint64_t of_program = 4;
constexpr std::uint64_t large = 0x80;
constexpr std::uint64_t no_execute = std::uint64_t{1} << 63;
constexpr std::uint64_t address_mask = 0x000ffffffffff000;

HostedMemory* served = nullptr;
struct sigaction before {};

void* pointer(std::uint64_t address) {
  return reinterpret_cast<void*>(address); // NOLINT(performance-no-int-to-ptr)
}

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// Nobody can look at [start, start + bytes) any more.
void hide(std::uint64_t start, std::uint64_t bytes) {
  require(::mmap(pointer(start), bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED);
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const auto* const state = static_cast<const ucontext_t*>(context);
  const bool writes = (state->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  if (served == nullptr ||
      !served->take_fault(reinterpret_cast<std::uint64_t>(info->si_addr), writes)) {
    ::sigaction(signal, &before, nullptr); // the access ends the test
  }
}

} // namespace

HostedMemory::HostedMemory(std::uint64_t ram_bytes)
    : ram_bytes_(ram_bytes), file_(::memfd_create("ram", MFD_CLOEXEC)), used_(ram_bytes / page),
      root_(make_table()), tables_(*this, root_) {
  require(served == nullptr && file_ >= 0 &&
          ::ftruncate(file_, static_cast<off_t>(ram_bytes)) == 0);
  void* const view = ::mmap(nullptr, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  require(view != MAP_FAILED);
  content_ = static_cast<std::byte*>(view);
  require(::mmap(pointer(ram_start), arena_bytes(), PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
                 0) == pointer(ram_start));
  map_ram();
  served = this;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  require(::sigaction(SIGSEGV, &action, &before) == 0);
}

HostedMemory::~HostedMemory() {
  ::sigaction(SIGSEGV, &before, nullptr);
  served = nullptr;
  ::munmap(pointer(ram_start), arena_bytes());
  ::munmap(content_, ram_bytes_);
  ::close(file_);
}

guest::linux::AddressZones HostedMemory::zones() const {
  guest::linux::AddressZones zones;
  zones.ram_end = ram_end();
  zones.open_end = ram_end() + open_bytes;
  zones.closed[0] = {0, ram_start};
  return zones;
}

std::byte* HostedMemory::at(abi::Gpa gpa) const {
  return gpa.value - ram_start < ram_bytes_ ? content_ + (gpa.value - ram_start)
                                            : static_cast<std::byte*>(pointer(gpa.value));
}

// ---- frames ------------------------------------------------------------------------------------

std::size_t HostedMemory::index_of(abi::Pfn frame) const {
  return frame.value - ram_start / page;
}

bool HostedMemory::claim(abi::Pfn first, std::uint64_t count) {
  const std::size_t start = index_of(first);
  if (start >= used_.size() || count > used_.size() - start) {
    return false;
  }
  for (std::size_t index = start; index < start + count; ++index) {
    if (used_[index]) {
      return false;
    }
  }
  for (std::size_t index = start; index < start + count; ++index) {
    used_[index] = true;
  }
  used_count_ += count;
  std::memset(at(abi::to_gpa(first)), 0, count * page);
  return true;
}

// Blocks lie at multiples of their size.
std::optional<abi::Pfn> HostedMemory::allocate(std::uint64_t count) {
  const std::uint64_t step = count >= 512 ? 512 : std::bit_ceil(count);
  for (const std::size_t from : {abi::align_up(next_, step), std::size_t{0}}) {
    for (std::size_t index = from; index + count <= used_.size(); index += step) {
      const abi::Pfn frame{ram_start / page + index};
      if (!used_[index] && claim(frame, count)) {
        next_ = index + count;
        return frame;
      }
    }
  }
  return std::nullopt;
}

void HostedMemory::renew(abi::Pfn first, std::uint64_t count) {
  for (std::size_t index = index_of(first); index < index_of(first) + count; ++index) {
    require(used_.at(index));
  }
  std::memset(at(abi::to_gpa(first)), 0, count * page);
}

void HostedMemory::copy(std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  std::memcpy(pointer(to), pointer(from), count * page);
}

void HostedMemory::write(abi::Gpa to, std::span<const std::byte> from) {
  require(to.value - ram_start < ram_bytes_);
  std::memcpy(at(to), from.data(), from.size());
}

void HostedMemory::release(abi::Pfn first, std::uint64_t count) {
  const std::uint64_t start = abi::to_gpa(first).value;
  for (std::size_t index = index_of(first); index < index_of(first) + count; ++index) {
    require(used_.at(index));
    used_[index] = false;
  }
  used_count_ -= count;
  const auto seen = shown_.lower_bound(start);
  const auto end = shown_.lower_bound(start + count * page);
  if (seen != end) {
    hide(start, count * page);
    shown_.erase(seen, end);
  }
}

// ---- page tables -------------------------------------------------------------------------------

abi::Gpa HostedMemory::make_table() {
  last_table_ += page;
  made_[last_table_] = std::make_unique<Table>();
  return {last_table_};
}

// At its own addresses, for reading and writing, as the host leaves it.
void HostedMemory::map_ram() {
  for (std::uint64_t address = ram_start; address < ram_end(); address += abi::huge_page_bytes) {
    std::uint64_t table = root_.value;
    for (const unsigned shift : {39U, 30U}) {
      std::uint64_t& entry = (*made_.at(table))[(address >> shift) & 511];
      if (entry == 0) {
        entry = make_table().value | 0x27;
      }
      table = entry & address_mask;
    }
    (*made_.at(table))[(address >> 21) & 511] = address | 0xe7 | no_execute;
  }
}

std::optional<abi::Gpa> HostedMemory::allocate() {
  return make_table();
}

void HostedMemory::release(abi::Gpa table) {
  require(made_.erase(table.value) == 1);
}

std::uint64_t* HostedMemory::entries(abi::Gpa table) {
  return made_.at(table.value)->data();
}

void HostedMemory::flush() {
  if (!shown_.empty()) {
    hide(ram_start, arena_bytes());
    shown_.clear();
  }
}

std::optional<HostedMemory::Meaning> HostedMemory::walk(std::uint64_t address) const {
  std::uint64_t table = root_.value;
  Meaning meaning{0, true, true};
  for (const unsigned shift : {39U, 30U, 21U, 12U}) {
    const std::uint64_t entry = (*made_.at(table))[(address >> shift) & 511];
    if ((entry & present) == 0) {
      return std::nullopt;
    }
    require((entry & of_program) != 0);
    meaning.writable = meaning.writable && (entry & writable) != 0;
    meaning.executable = meaning.executable && (entry & no_execute) == 0;
    table = entry & address_mask;
    if (shift == 12 || (entry & large) != 0) {
      meaning.gpa = abi::align_down(table + address % (std::uint64_t{1} << shift), page);
      return meaning;
    }
  }
  return std::nullopt;
}

bool HostedMemory::take_fault(std::uint64_t address, bool writes) {
  using namespace guest::linux;
  if (address - ram_start >= arena_bytes()) {
    return false;
  }
  std::optional<Meaning> meaning = walk(address);
  if (!meaning || (writes && !meaning->writable)) {
    if (space_ == nullptr ||
        space_->resolve(address, writes ? Access::write : Access::read) != Resolution::resolved) {
      return false;
    }
    meaning = walk(address);
  }
  const std::size_t frame = (meaning->gpa - ram_start) / page;
  if (frame >= used_.size() || !used_[frame]) {
    return false; // memory that is nobody's
  }
  const std::uint64_t place = abi::align_down(address, page);
  shown_.insert(place);
  return ::mmap(pointer(place), page, PROT_READ | (meaning->writable ? PROT_WRITE : 0),
                MAP_SHARED | MAP_FIXED, file_,
                static_cast<off_t>(meaning->gpa - ram_start)) != MAP_FAILED;
}

} // namespace test_support
