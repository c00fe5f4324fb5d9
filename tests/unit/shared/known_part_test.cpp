// SPDX-License-Identifier: MIT
// Minor versions grow structs at their end. Each of those that say their size is grown here by a
// field, as the next version may: both sides must go on understanding each other.
#include "shared/known_part.hpp"

#include <cstdint>
#include <span>

#include <doctest/doctest.h>

#include "shared/boot_info.hpp"
#include "shared/image_header.hpp"

namespace {

constexpr std::uint64_t absent = 0x1234;
constexpr std::uint64_t said = 0x5678;

// A later version's struct: today's and one more field.
template <typename Today> struct Grown {
  Today today;
  std::uint64_t later = absent;
};

template <typename T> std::span<const std::byte> bytes_of(const T& object) {
  return std::as_bytes(std::span(&object, 1));
}

// Memory behind a struct holds something else; a reader must not take it for the struct's.
template <typename Today> struct InMemory {
  Today today;
  std::uint64_t something_else = said;
};

template <typename Today> void check_growth() {
  InMemory<Today> old_writer;
  old_writer.today.version_major = 7;
  const auto seen_by_new = abi::known_part<Grown<Today>>(bytes_of(old_writer), sizeof(Today));
  CHECK(seen_by_new.today.version_major == 7);
  CHECK(seen_by_new.later == absent);

  Grown<Today> new_writer{.today = {}, .later = said};
  new_writer.today.version_major = 7;
  CHECK(abi::known_part<Grown<Today>>(bytes_of(new_writer), sizeof new_writer).later == said);
  const auto seen_by_old = abi::known_part<Today>(bytes_of(new_writer), sizeof new_writer);
  CHECK(seen_by_old.version_major == 7);
}

} // namespace

TEST_CASE("growth: each struct that says its size may be older or newer than its reader") {
  check_growth<abi::ImageHeader>();
  check_growth<abi::BootInfo>();
  check_growth<abi::GuestHello>();
}

TEST_CASE("growth: a size that promises more than there is, is not believed") {
  abi::GuestHello hello;
  hello.version_major = 7;
  const auto cut = abi::known_part<Grown<abi::GuestHello>>(bytes_of(hello), 1U << 30);
  CHECK(cut.today.version_major == 7);
  CHECK(cut.later == absent);
}

TEST_CASE("growth: what a version has of a struct never changes again") {
  CHECK(abi::image_header_bytes_1_0 == 160);
  CHECK(abi::image_header_bytes_1_1 == 160);
  CHECK(abi::boot_info_bytes_1_0 == 2184);
  CHECK(abi::boot_info_bytes_1_1 == 2264);
  CHECK(abi::hello_bytes_1_0 == 56);
  CHECK(abi::hello_bytes_1_1 == 56);
}

TEST_CASE("growth: a guest tells hosts of 1.0, 1.1 and later ones apart") {
  const auto of = [](std::uint32_t bytes) {
    abi::BootInfo info;
    info.struct_bytes = bytes;
    return info;
  };
  CHECK_FALSE(abi::knows_1_1(of(abi::boot_info_bytes(0))));
  CHECK(abi::knows_1_1(of(abi::boot_info_bytes(1))));
  CHECK(abi::knows_1_1(of(abi::boot_info_bytes(2))));
  CHECK(abi::knows_1_1(of(sizeof(Grown<abi::BootInfo>))));
  CHECK(abi::boot_info_bytes(1) == abi::boot_info_bytes_1_1);
}
