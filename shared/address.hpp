// SPDX-License-Identifier: MIT
// Strong types for guest-physical addresses, page frame numbers and block orders.
//
// Both sides compile this file. A Gpa is a number, not a pointer: on the host only
// vmm/guest_memory turns one into an address; in the guest only guest/arch does (the guest is
// identity mapped).
#pragma once

#include <compare>
#include <cstdint>

namespace abi {

inline constexpr unsigned page_shift = 12;
inline constexpr std::uint64_t page_bytes = std::uint64_t{1} << page_shift;
inline constexpr std::uint64_t huge_page_bytes = std::uint64_t{2} << 20;

// Largest buddy order: 2^10 pages of 4 KiB are 4 MiB.
inline constexpr unsigned max_order = 10;
inline constexpr unsigned order_count = max_order + 1;

// Guest-physical address in bytes.
struct Gpa {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(Gpa, Gpa) = default;
  friend constexpr Gpa operator+(Gpa base, std::uint64_t bytes) { return {base.value + bytes}; }
  // Distance in bytes; `from` must not lie above `to`.
  friend constexpr std::uint64_t operator-(Gpa to, Gpa from) { return to.value - from.value; }
};

// Guest page frame number: Gpa / 4 KiB.
struct Pfn {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(Pfn, Pfn) = default;
  friend constexpr Pfn operator+(Pfn base, std::uint64_t frames) { return {base.value + frames}; }
  // Distance in frames; `from` must not lie above `to`.
  friend constexpr std::uint64_t operator-(Pfn to, Pfn from) { return to.value - from.value; }
};

// Base-2 logarithm of a block's length in frames, 0...max_order.
struct Order {
  std::uint8_t value = 0;
  friend constexpr auto operator<=>(Order, Order) = default;
  [[nodiscard]] constexpr std::uint64_t frames() const { return std::uint64_t{1} << value; }
  [[nodiscard]] constexpr std::uint64_t bytes() const { return frames() << page_shift; }
};

constexpr Gpa to_gpa(Pfn pfn) {
  return {pfn.value << page_shift};
}
// Rounds down to the frame that holds the address.
constexpr Pfn to_pfn(Gpa gpa) {
  return {gpa.value >> page_shift};
}

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}
// The caller makes sure that value + power_of_two does not overflow.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t power_of_two) {
  return align_down(value + power_of_two - 1, power_of_two);
}

} // namespace abi
