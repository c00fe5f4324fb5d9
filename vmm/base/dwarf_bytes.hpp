// SPDX-License-Identifier: MIT
// Bytes as DWARF has them: numbers of a fixed size or in LEB128, and strings. Reading beyond them
// gives zeroes, and is remembered. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace vmm {

class DwarfBytes {
 public:
  DwarfBytes(std::span<const std::byte> bytes, std::size_t at)
      : bytes_(bytes), at_(std::min(at, bytes.size())), is_beyond_(at > bytes.size()) {}

  [[nodiscard]] bool at_end() const { return at_ == bytes_.size(); }
  [[nodiscard]] bool is_beyond() const { return is_beyond_; }
  [[nodiscard]] std::size_t at() const { return at_; }

  // Little endian, as on the only machines that there are guests of.
  template <typename T> T take() {
    T value{};
    if (const auto from = take_bytes(sizeof value); !from.empty()) {
      std::memcpy(&value, from.data(), sizeof value);
    }
    return value;
  }
  // Of 1, 2, 4 or 8 bytes.
  std::uint64_t take_number(std::size_t size) {
    std::uint64_t value = 0;
    if (const auto from = take_bytes(size); from.size() <= sizeof value && !from.empty()) {
      std::memcpy(&value, from.data(), from.size());
    }
    return value;
  }
  // None when there are not so many.
  std::span<const std::byte> take_bytes(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      at_ = bytes_.size();
      is_beyond_ = true;
      return {};
    }
    const auto taken = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }
  std::uint64_t take_unsigned() {
    unsigned shift = 0;
    return take_leb(shift);
  }
  std::int64_t take_signed() {
    unsigned shift = 0;
    std::uint64_t value = take_leb(shift);
    if (shift < 64 && shift != 0 && (value >> (shift - 1) & 1) != 0) {
      value |= ~std::uint64_t{0} << shift;
    }
    return static_cast<std::int64_t>(value);
  }
  // Up to its NUL.
  std::string take_string() {
    const auto rest = bytes_.subspan(at_);
    const auto nul = std::ranges::find(rest, std::byte{0});
    const auto length = static_cast<std::size_t>(nul - rest.begin());
    is_beyond_ = is_beyond_ || nul == rest.end();
    at_ = std::min(at_ + length + 1, bytes_.size());
    return {reinterpret_cast<const char*>(rest.data()), length};
  }

 private:
  // `shift`: of the bits behind the last one.
  std::uint64_t take_leb(unsigned& shift) {
    std::uint64_t value = 0;
    for (bool goes_on = true; goes_on && !is_beyond_;) {
      const auto byte = take<std::uint8_t>();
      value |= shift < 64 ? std::uint64_t{byte & 0x7fU} << shift : 0;
      shift = std::min(shift + 7, 70U);
      goes_on = (byte & 0x80) != 0;
    }
    return value;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_;
  bool is_beyond_;
};

} // namespace vmm
