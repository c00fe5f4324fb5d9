// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_packets.hpp"

#include <doctest/doctest.h>

using namespace vmm;

namespace {

using Kind = PacketReader::Kind;

std::vector<PacketReader::Item> read_in_pieces(std::string_view bytes, std::size_t piece) {
  PacketReader reader;
  std::vector<PacketReader::Item> items;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.read(bytes.substr(at, piece),
                [&](const PacketReader::Item& item) { items.push_back(item); });
  }
  return items;
}

std::vector<PacketReader::Item> read(std::string_view bytes) {
  return read_in_pieces(bytes, bytes.size() + 1);
}

} // namespace

TEST_CASE("gdb packets: a packet is the same in pieces of any size") {
  const std::string bytes = "+$g#67" + frame_packet("m400000,40") + "-" + "\x03" + "$#00";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    const auto items = read_in_pieces(bytes, piece);
    REQUIRE(items.size() == 6);
    CHECK(items[0].kind == Kind::ack);
    CHECK(items[1].kind == Kind::packet);
    CHECK(items[1].payload == "g");
    CHECK(items[2].payload == "m400000,40");
    CHECK(items[3].kind == Kind::nak);
    CHECK(items[4].kind == Kind::interrupt);
    CHECK(items[5].kind == Kind::packet);
    CHECK(items[5].payload.empty());
  }
}

TEST_CASE("gdb packets: a wrong checksum, or none, damages one packet only") {
  for (const char* bad : {"$g#68", "$g#6g", "$g#x7", "$g##7", "$gg#67"}) {
    CAPTURE(bad);
    const auto items = read(std::string(bad) + "$g#67");
    REQUIRE(items.size() == 2);
    CHECK(items[0].kind == Kind::damaged);
    CHECK(items[1].kind == Kind::packet);
  }
  // Digits of either case are right.
  CHECK(read("$O#4F").at(0).kind == Kind::packet);
  CHECK(read("$O#4f").at(0).kind == Kind::packet);
}

TEST_CASE("gdb packets: the checksum wraps at a byte") {
  const std::string payload(1000, '\xff');
  CHECK(read(frame_packet(payload)).at(0).payload == payload);
}

TEST_CASE("gdb packets: what lies between packets is skipped, a lost end starts anew") {
  const auto items = read("abc#00\n$lost$g#67xyz");
  REQUIRE(items.size() == 1);
  CHECK(items[0].payload == "g");
}

TEST_CASE("gdb packets: an interrupt character inside of a packet is data") {
  const std::string payload = "X400000,1:\x03";
  const auto items = read(frame_packet(payload));
  REQUIRE(items.size() == 1);
  CHECK(items[0].payload == payload);
}

TEST_CASE("gdb packets: the longest packet fits, a longer one is told and forgotten") {
  const std::string longest(max_packet_bytes, 'a');
  CHECK(read(frame_packet(longest)).at(0).payload == longest);
  const auto items = read(frame_packet(longest + "a") + "$g#67");
  REQUIRE(items.size() == 2);
  CHECK(items[0].kind == Kind::oversize);
  CHECK(items[0].payload.empty());
  CHECK(items[1].payload == "g");
  // One with a wrong checksum is not believed to be long.
  CHECK(read("$" + longest + "a#00").at(0).kind == Kind::damaged);
}

TEST_CASE("gdb packets: a stream that never ends a packet yields nothing") {
  PacketReader reader;
  unsigned items = 0;
  const std::string chunk(1 << 16, 'a');
  reader.read("$", [&](const auto&) { ++items; });
  for (unsigned round = 0; round < 64; ++round) {
    reader.read(chunk, [&](const auto&) { ++items; });
  }
  CHECK(items == 0);
  reader.read("$g#67", [&](const auto& item) {
    ++items;
    CHECK(item.payload == "g");
  });
  CHECK(items == 1);
}

TEST_CASE("gdb packets: binary data survives") {
  std::string all;
  for (unsigned byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
  }
  const std::string escaped = escape_binary(all);
  CHECK(escaped.size() == 256 + 4);
  const auto back = unescape_binary(escaped);
  REQUIRE(back);
  CHECK(to_hex(*back) == to_hex(all));
  CHECK(read(frame_packet(escaped)).at(0).payload == escaped);
  CHECK_FALSE(unescape_binary("abc}"));
  CHECK(unescape_binary("")->empty());
}

TEST_CASE("gdb packets: hexadecimal data is pairs of digits") {
  CHECK(to_hex(std::string_view("\x00\xff\x1a", 3)) == "00ff1a");
  CHECK(to_hex(*from_hex("00FF1a")) == "00ff1a");
  CHECK(from_hex("")->empty());
  CHECK_FALSE(from_hex("0"));
  CHECK_FALSE(from_hex("0g"));
  CHECK_FALSE(from_hex("-1"));
}

TEST_CASE("gdb packets: numbers have 1 to 16 digits") {
  CHECK(parse_hex("0") == 0);
  CHECK(parse_hex("ffffffffffffffff") == ~std::uint64_t{0});
  CHECK(parse_hex("DEADbeef") == 0xdeadbeef);
  for (const char* bad : {"", "10000000000000000", "-1", "0x1", " 1", "1 ", "g"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_hex(bad));
  }
}

TEST_CASE("gdb packets: text is taken apart at a character") {
  std::string_view rest = "a,b";
  CHECK(take_until(rest, ',') == "a");
  CHECK(rest == "b");
  CHECK(take_until(rest, ',') == "b");
  CHECK(rest.empty());
  CHECK(take_until(rest, ',').empty());
}
