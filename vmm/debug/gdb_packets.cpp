// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_packets.hpp"

#include <fmt/core.h>

namespace vmm {

namespace {

constexpr char interrupt_byte = 3;
constexpr char escape = '}';
constexpr char escape_bit = 0x20;

std::optional<std::uint8_t> digit(char character) {
  if (character >= '0' && character <= '9') {
    return static_cast<std::uint8_t>(character - '0');
  }
  if (character >= 'a' && character <= 'f') {
    return static_cast<std::uint8_t>(character - 'a' + 10);
  }
  if (character >= 'A' && character <= 'F') {
    return static_cast<std::uint8_t>(character - 'A' + 10);
  }
  return std::nullopt;
}

} // namespace

void PacketReader::start() {
  state_ = State::payload;
  payload_.clear();
  oversize_ = damaged_ = false;
  sum_ = 0;
}

void PacketReader::read(std::string_view bytes, const std::function<void(const Item&)>& take) {
  for (const char byte : bytes) {
    switch (state_) {
    case State::between:
      if (byte == '$') {
        start();
      } else if (byte == '+') {
        take({Kind::ack, {}});
      } else if (byte == '-') {
        take({Kind::nak, {}});
      } else if (byte == interrupt_byte) {
        take({Kind::interrupt, {}});
      }
      break;
    case State::payload:
      if (byte == '$') {
        start();
      } else if (byte == '#') {
        state_ = State::checksum_high;
      } else {
        sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(byte));
        if (payload_.size() == max_packet_bytes) {
          oversize_ = true;
        } else {
          payload_ += byte;
        }
      }
      break;
    case State::checksum_high:
    case State::checksum_low: {
      const auto value = digit(byte);
      damaged_ = damaged_ || !value;
      if (state_ == State::checksum_high) {
        stated_ = static_cast<std::uint8_t>(value.value_or(0) << 4);
        state_ = State::checksum_low;
        break;
      }
      state_ = State::between;
      if (damaged_ || (stated_ | *value) != sum_) {
        take({Kind::damaged, {}});
      } else if (oversize_) {
        take({Kind::oversize, {}});
      } else {
        take({Kind::packet, payload_});
      }
      break;
    }
    }
  }
}

std::string frame_packet(std::string_view payload) {
  std::uint8_t sum = 0;
  for (const char byte : payload) {
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
  }
  return fmt::format("${}#{:02x}", payload, sum);
}

std::string escape_binary(std::string_view data) {
  std::string text;
  text.reserve(data.size());
  for (const char byte : data) {
    if (byte == '#' || byte == '$' || byte == escape || byte == '*') {
      text += escape;
      text += static_cast<char>(byte ^ escape_bit);
    } else {
      text += byte;
    }
  }
  return text;
}

std::optional<std::vector<std::byte>> unescape_binary(std::string_view text) {
  std::vector<std::byte> data;
  data.reserve(text.size());
  for (std::size_t index = 0; index < text.size(); ++index) {
    char byte = text[index];
    if (byte == escape) {
      if (++index == text.size()) {
        return std::nullopt;
      }
      byte = static_cast<char>(text[index] ^ escape_bit);
    }
    data.push_back(static_cast<std::byte>(byte));
  }
  return data;
}

std::string to_hex(std::span<const std::byte> data) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * data.size());
  for (const std::byte byte : data) {
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 0xf];
  }
  return text;
}

std::string to_hex(std::string_view text) {
  return to_hex(std::as_bytes(std::span(text)));
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) {
    return std::nullopt;
  }
  std::vector<std::byte> data;
  data.reserve(text.size() / 2);
  for (std::size_t index = 0; index < text.size(); index += 2) {
    const auto high = digit(text[index]);
    const auto low = digit(text[index + 1]);
    if (!high || !low) {
      return std::nullopt;
    }
    data.push_back(static_cast<std::byte>(*high << 4 | *low));
  }
  return data;
}

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  constexpr std::size_t most_digits = 16;
  if (text.empty() || text.size() > most_digits) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char character : text) {
    const auto next = digit(character);
    if (!next) {
      return std::nullopt;
    }
    value = value << 4 | *next;
  }
  return value;
}

std::string_view take_until(std::string_view& rest, char end) {
  const std::size_t at = rest.find(end);
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return taken;
}

} // namespace vmm
