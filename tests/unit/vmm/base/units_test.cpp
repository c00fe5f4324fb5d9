// SPDX-License-Identifier: MIT
#include "vmm/base/units.hpp"

#include <limits>
#include <string>

#include <doctest/doctest.h>

using namespace vmm;

TEST_CASE("units: a number may be hexadecimal where it says so") {
  CHECK(parse_number_or_hex("0x4a3000") == 0x4a3000);
  CHECK(parse_number_or_hex("0xffffffffffffffff") == std::numeric_limits<std::uint64_t>::max());
  CHECK(parse_number_or_hex("4096") == 4096);
  for (const char* const text :
       {"", "0x", "x10", "0x-1", "-1", "0x10000000000000000", "4a3000", "0x12g", " 1", "0X10"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_number_or_hex(text));
  }
}

TEST_CASE("sizes take K, M, G and T in either case") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("1k") == kib);
  CHECK(parse_size("512M") == 512 * mib);
  CHECK(parse_size("2g") == 2 * gib);
  CHECK(parse_size("1T") == tib);
}

TEST_CASE("sizes refuse what is not one") {
  for (const char* text : {"", "M", "-1", "+1", "1 M", " 1M", "1M ", "1.5G", "17E", "1MB", "1Mi",
                           "0x10", "1e3", "M1", "1,000"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("sizes are exact up to 64 bits and refused beyond") {
  CHECK(parse_size("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  CHECK_FALSE(parse_size("18446744073709551616"));
  CHECK(parse_size("16777215T") == 16777215 * tib);
  CHECK_FALSE(parse_size("16777216T"));
  CHECK_FALSE(parse_size("18446744073709551615K"));
}

TEST_CASE("durations are milliseconds unless they say otherwise") {
  CHECK(parse_duration_ns("0") == 0);
  CHECK(parse_duration_ns("1") == 1'000'000);
  CHECK(parse_duration_ns("0.5") == 500'000);
  CHECK(parse_duration_ns("0.5ms") == 500'000);
  CHECK(parse_duration_ns("250us") == 250'000);
  CHECK(parse_duration_ns("0.001us") == 1);
  CHECK(parse_duration_ns("2s") == 2'000'000'000);
  CHECK(parse_duration_ns("1.25s") == 1'250'000'000);
  CHECK(parse_duration_ns("86400s") == 86'400'000'000'000);
}

TEST_CASE("durations round down below a nanosecond and refuse what is not one") {
  CHECK(parse_duration_ns("0.0000009") == 0);
  CHECK(parse_duration_ns("1.00000000000000000000000000000001") == 1'000'000);
  for (const char* text : {"", ".", ".5", "5.", "-1", "1.5.2", "1m", "1 ms", "1e3", "nan", "inf",
                           "us", "86401s", "86400.1s", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration_ns(text));
  }
}

TEST_CASE("exact sizes are read back to the same number") {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, kib, 1536 * kib, 512 * mib,
        64 * gib, tib, std::numeric_limits<std::uint64_t>::max()}) {
    CAPTURE(bytes);
    CHECK(parse_size(exact_size(bytes)) == bytes);
  }
  CHECK(exact_size(512 * mib) == "512M");
  CHECK(exact_size(1000) == "1000");
  CHECK(exact_size(0) == "0");
}

TEST_CASE("sizes for people keep three digits and never show 1024 of a unit") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1023) == "1023 B");
  CHECK(human_size(kib) == "1.00 KiB");
  CHECK(human_size(1536 * mib) == "1.50 GiB");
  CHECK(human_size(312 * mib) == "312 MiB");
  CHECK(human_size(mib - 1) == "1.00 MiB");
  CHECK(human_size(std::numeric_limits<std::uint64_t>::max()) == "16.0 EiB");
}

TEST_CASE("durations for people choose the unit") {
  CHECK(human_duration(0) == "0 ns");
  CHECK(human_duration(15e-9) == "15 ns");
  CHECK(human_duration(870e-6) == "870 us");
  CHECK(human_duration(3.2e-3) == "3.20 ms");
  CHECK(human_duration(0.9996) == "1.00 s");
  CHECK(human_duration(14.45) == "14.4 s");
  CHECK(human_duration_ns(999) == "999 ns");
  CHECK(human_duration_ns(999'700) == "1.00 ms"); // not "1e+03 us"
}

TEST_CASE("numbers are grouped by thousands") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(1'165'963) == "1,165,963");
  CHECK(grouped(std::numeric_limits<std::uint64_t>::max()) == "18,446,744,073,709,551,615");
}
