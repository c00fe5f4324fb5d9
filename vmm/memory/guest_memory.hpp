// SPDX-License-Identifier: MIT
// Guest RAM: one host mapping that shows guest-physical [0, size), and the only way from a
// guest-physical address to a host one.
//
// RAM may have one hole: addresses that belong to interrupt hardware and are not RAM. The mapping
// covers it, so that a guest-physical address is always the offset in mapping and file, but nothing
// there is ever used. Image and data of a guest may lie in an area of their own in the hole, which
// is no RAM: it is a mapping of its own, and nothing in it is ever discarded.
//
// The mapping is reserved, not populated: memory is used when the guest first touches it. Only the
// hugetlb backing takes its pages from the host's pool at once. The object is fixed after
// create() but for the small-page prefix, so any thread may use the const members.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "shared/address.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/settings/memory_policy.hpp"

namespace vmm {

inline constexpr std::uint64_t max_guest_memory_bytes = std::uint64_t{256} << 30;

// Guest-physical addresses [start, end) that are not RAM; empty by default.
struct RamHole {
  abi::Gpa start;
  abi::Gpa end;

  [[nodiscard]] std::uint64_t bytes() const { return end - start; }
  [[nodiscard]] bool touches(abi::Gpa from, abi::Gpa to) const {
    return bytes() != 0 && from < end && start < to;
  }
};
// Where the local APIC has its registers and other processors' firmware expects devices: KVM maps a
// page of its own at 0xfee00000 on some hosts, and refuses RAM there.
inline constexpr RamHole interrupt_hole{{std::uint64_t{3} << 30}, {std::uint64_t{4} << 30}};

class GuestMemory {
 public:
  // `size_bytes` is a multiple of 4 KiB (hugetlb: of 2 MiB), at most max_guest_memory_bytes. The
  // host address is 1 GiB aligned, so that guest and host huge pages coincide. Errors: user for a
  // bad size, environment (with what to do) when the host cannot provide the memory.
  // RAM that would lie in or above `hole` (1 GiB aligned) lies above it.
  static Result<GuestMemory> create(std::uint64_t size_bytes, Backing backing, RamHole hole = {});

  // Host address of guest-physical 0, and how many bytes are mapped there, the hole included.
  [[nodiscard]] std::byte* base() const { return mapping_.get(); }
  [[nodiscard]] std::uint64_t mapped_bytes() const { return mapping_.get_deleter().bytes; }
  // RAM, without the hole.
  [[nodiscard]] std::uint64_t size_bytes() const { return mapped_bytes() - hole_.bytes(); }
  // End of RAM, and the hole below it; empty when RAM does not reach that far.
  [[nodiscard]] abi::Gpa end() const { return {mapped_bytes()}; }
  [[nodiscard]] RamHole hole() const { return hole_; }
  [[nodiscard]] Backing backing() const { return backing_; }
  // The file behind memfd and hugetlb (file offset = guest-physical address); -1 for the others.
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Adds memory outside RAM, [start, end) in the hole or above the end: anonymous, small pages,
  // used when first touched. Once, before anything uses this object. Page aligned.
  Result<void> add_own_area(abi::Gpa start, abi::Gpa end);
  // Where it is; empty: there is none.
  [[nodiscard]] abi::Gpa own_start() const { return own_start_; }
  [[nodiscard]] std::span<std::byte> own_area() const {
    return {own_.get(), own_.get_deleter().bytes};
  }
  [[nodiscard]] bool in_own_area(abi::Gpa gpa) const {
    return gpa >= own_start_ && gpa - own_start_ < own_area().size();
  }

  // Host view of [gpa, gpa + bytes); empty unless all of it is RAM, or all in the own area.
  [[nodiscard]] std::span<std::byte> at(abi::Gpa gpa, std::uint64_t bytes) const;

  // The T at `gpa`; null unless it is aligned for T and all of it is there. The guest may write to
  // it at any time: load single words from it once and validate the copies.
  template <typename T>
  requires std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>
  [[nodiscard]] T* object_at(abi::Gpa gpa) const {
    const std::span<std::byte> bytes = at(gpa, sizeof(T));
    if (bytes.empty() || gpa.value % alignof(T) != 0) {
      return nullptr;
    }
    // Justified: bounds and alignment are checked (base() is page aligned), T is an implicit
    // lifetime type, and guest memory is no C++ object of another type.
    return reinterpret_cast<T*>(bytes.data());
  }

  // Keeps transparent huge pages out of [0, end), so that the host's own structures and the guest
  // image do not make whole 2 MiB resident. Rounds up to a page; the prefix only ever grows, a
  // smaller `end` does nothing. Without effect for backings other than thp. Huge pages that are
  // there already stay, so call it before the range is touched.
  Result<void> set_small_page_prefix(abi::Gpa end);

 private:
  struct Unmap {
    std::uint64_t bytes = 0;
    void operator()(std::byte* address) const;
  };
  using Mapping = std::unique_ptr<std::byte, Unmap>;

  GuestMemory(Mapping mapping, UniqueFd fd, Backing backing, RamHole hole)
      : mapping_(std::move(mapping)), fd_(std::move(fd)), backing_(backing), hole_(hole) {}

  static Result<UniqueFd> create_file(std::uint64_t size_bytes, Backing backing);
  static Result<Mapping> map(std::uint64_t mapped_bytes, Backing backing, int fd, RamHole hole);
  Result<void> apply_advice();

  Mapping mapping_;
  UniqueFd fd_;
  Backing backing_;
  RamHole hole_;
  std::uint64_t small_page_prefix_bytes_ = 0;
  Mapping own_{nullptr, Unmap{0}};
  abi::Gpa own_start_;
};

} // namespace vmm
