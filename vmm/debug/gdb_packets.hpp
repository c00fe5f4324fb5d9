// SPDX-License-Identifier: MIT
// Framing of the gdb remote serial protocol (gdb manual, appendix E): $payload#checksum,
// acknowledgements, the interrupt character, hexadecimal and binary data. Pure. What arrives may be
// anything, in pieces of any size; memory stays bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmm {

// Longest payload that is taken, as told to the debugger (qSupported: PacketSize).
inline constexpr std::size_t max_packet_bytes = 0x4000;

// Takes a stream of bytes apart.
class PacketReader {
 public:
  enum class Kind : std::uint8_t {
    packet,    // complete, checksum right; `payload` as sent, escapes and all
    damaged,   // complete, checksum wrong or no number
    oversize,  // complete, longer than max_packet_bytes; nothing of it is kept
    ack,       // '+'
    nak,       // '-'
    interrupt, // byte 3 outside of packets
  };

  struct Item {
    Kind kind = Kind::packet;
    std::string payload;
  };

  // Calls `take(Item)` for whatever `bytes` complete. Bytes between packets that mean nothing are
  // skipped. A '$' inside of a packet starts another: the end of the first was lost.
  void read(std::string_view bytes, const std::function<void(const Item&)>& take);

 private:
  enum class State : std::uint8_t { between, payload, checksum_high, checksum_low };

  void start();

  State state_ = State::between;
  std::string payload_;
  bool oversize_ = false;
  bool damaged_ = false;
  std::uint8_t sum_ = 0;    // of the payload so far
  std::uint8_t stated_ = 0; // high digit of the checksum
};

// "$payload#checksum". The payload has no '$', '#', '}' or '*' but where it is meant.
[[nodiscard]] std::string frame_packet(std::string_view payload);

// Binary data in a payload: '#', '$', '}' and '*' are escaped by '}' and bit 5.
[[nodiscard]] std::string escape_binary(std::string_view data);
// Empty when it ends in the middle of an escape.
[[nodiscard]] std::optional<std::vector<std::byte>> unescape_binary(std::string_view text);

// Two lower-case digits a byte.
[[nodiscard]] std::string to_hex(std::span<const std::byte> data);
[[nodiscard]] std::string to_hex(std::string_view text);
// Empty when it is not pairs of digits.
[[nodiscard]] std::optional<std::vector<std::byte>> from_hex(std::string_view text);
// 1...16 digits, nothing else.
[[nodiscard]] std::optional<std::uint64_t> parse_hex(std::string_view text);

// Takes the text up to `end` off the front of `rest`, and `end` itself; all of it when there is
// no `end`.
std::string_view take_until(std::string_view& rest, char end);

} // namespace vmm
