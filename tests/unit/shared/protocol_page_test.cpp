// SPDX-License-Identifier: MIT
// The tables of shared/README.md, for who implements another guest or host, against the headers.
#include <cstddef>
#include <fstream>
#include <map>
#include <regex>
#include <string>

#include <doctest/doctest.h>

#include "shared/abi_version.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"
#include "shared/report_channel.hpp"

namespace {

// First column by the name in the second, of rows such as "| 64 | `submit_head` | ...".
std::map<std::string, std::size_t> numbered_rows() {
  std::map<std::string, std::size_t> rows;
  std::ifstream page("shared/README.md");
  const std::regex row(R"(^\| (\d+) \| `(\w+)(\[\d+\])?`.*)");
  std::smatch found;
  for (std::string line; std::getline(page, line);) {
    if (std::regex_match(line, found, row)) {
      CHECK_MESSAGE(rows.emplace(found[2], std::stoul(found[1])).second, line);
    }
  }
  return rows;
}

std::size_t bit(abi::Feature feature) {
  return static_cast<std::size_t>(__builtin_ctzll(feature));
}

} // namespace

TEST_CASE("the page of the protocol has the offsets and the bits of the headers") {
  const std::map<std::string, std::size_t> expected{
      {"submit_tail", offsetof(abi::ChannelRings, submit_tail)},
      {"complete_head", offsetof(abi::ChannelRings, complete_head)},
      {"want_interrupt", offsetof(abi::ChannelRings, want_interrupt)},
      {"submit_head", offsetof(abi::ChannelRings, submit_head)},
      {"complete_tail", offsetof(abi::ChannelRings, complete_tail)},
      {"no_doorbell", offsetof(abi::ChannelRings, no_doorbell)},
      {"submissions", offsetof(abi::ChannelRings, submissions)},
      {"completions", offsetof(abi::ChannelRings, completions)},
      {"report", bit(abi::feature_report)},
      {"zeroed", bit(abi::feature_zeroed)},
      {"plug", bit(abi::feature_plug)},
      {"async", bit(abi::feature_async)},
      {"interrupt", bit(abi::feature_interrupt)},
      {"smp", bit(abi::feature_smp)},
      {"retune", bit(abi::feature_retune)},
      {"vmcall", bit(abi::feature_vmcall)},
      {"trace", bit(abi::feature_trace)},
      {"prefault", bit(abi::feature_prefault)},
      {"files", bit(abi::feature_files)},
      {"sockets", bit(abi::feature_sockets)},
  };
  CHECK(numbered_rows() == expected);
}

TEST_CASE("so has its small guest the sizes of its hello") {
  std::ifstream page("shared/README.md");
  const std::string text{std::istreambuf_iterator<char>(page), {}};
  CHECK(sizeof(abi::Channel) == 0x9000);
  CHECK(text.find("channel_bytes = 0x9000") != std::string::npos);
  CHECK(text.find("status_bytes = " + std::to_string(abi::guest_status_bytes_1_0)) !=
        std::string::npos);
  CHECK(text.find("0, " + std::to_string(abi::hello_bytes_1_0) + " bytes") != std::string::npos);
}
