// SPDX-License-Identifier: MIT
// What a trace has said so far of every frame of guest memory: one byte each.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "shared/address.hpp"

namespace hvtrace {

enum class FrameState : std::uint8_t {
  unknown = 0, // nothing said: never handed out, or not recorded at this level
  allocated = 1,
  fresh = 2,    // freed, not hinted yet
  isolated = 3, // hinted, not answered
  reported = 4, // answered as discarded
  declined = 5, // answered otherwise
};
inline constexpr std::size_t frame_state_count = 6;

// Bytes by order of the largest aligned blocks of one state.
using BytesByOrder = std::array<std::uint64_t, abi::order_count>;

class FrameMap {
 public:
  explicit FrameMap(std::uint64_t ram_bytes) : bytes_(ram_bytes >> abi::page_shift) {}

  // Whether [gpa, gpa + 2^order frames) is an aligned block in RAM.
  [[nodiscard]] bool holds(std::uint64_t gpa, std::uint8_t order) const;

  [[nodiscard]] FrameState state(std::uint64_t frame) const {
    return static_cast<FrameState>(bytes_[frame] & state_mask);
  }
  // The block is with the host as part of a batch, itself hinted or enclosed by a span.
  [[nodiscard]] bool in_flight(std::uint64_t frame) const {
    return (bytes_[frame] & flight_bit) != 0;
  }
  [[nodiscard]] std::uint64_t frames() const { return bytes_.size(); }

  // All of these: of a block that holds().
  [[nodiscard]] std::optional<std::uint64_t> first_in_flight(std::uint64_t gpa,
                                                             std::uint8_t order) const;
  [[nodiscard]] std::optional<std::uint64_t> first_of(std::uint64_t gpa, std::uint8_t order,
                                                      FrameState state) const;
  void set_state(std::uint64_t gpa, std::uint8_t order, FrameState state); // keeps in_flight
  void set_flight(std::uint64_t gpa, std::uint8_t order, bool in_flight);

  [[nodiscard]] std::array<BytesByOrder, frame_state_count> bytes_by_order() const;

 private:
  static constexpr std::uint8_t state_mask = 0x7;
  static constexpr std::uint8_t flight_bit = 0x80;

  std::vector<std::uint8_t> bytes_;
};

} // namespace hvtrace
