// SPDX-License-Identifier: MIT
// A host's files as a guest has them that is to write to them late (HostContents).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "guest/linux/files/host_contents.hpp"
#include "guest/linux/files/host_files.hpp"
#include "tests/support/fake_file_host.hpp"
#include "tests/support/fake_frames.hpp"

namespace test_support {

struct HostContentsFixture {
  FakeFileHost host;
  FakeMachine machine;
  FakePool pool;
  NoViews views;
  guest::linux::HostContents contents{pool, machine, views};
  guest::linux::HostFiles files{host, machine, contents, guest::linux::HostFiles::Use::changed};
  guest::linux::HostFiles elsewhere{host, machine, contents,
                                    guest::linux::HostFiles::Use::read_only};

  std::unique_ptr<guest::linux::File>
  open(const std::string& path, guest::linux::FileAccess access = guest::linux::FileAccess::write) {
    return std::unique_ptr<guest::linux::File>(
        files.open(path, access, {.mode = S_IFREG | 0644U}).value());
  }
  int calls(abi::FileOperation operation) { return host.asked[operation]; }
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline void put(guest::linux::File& file, std::uint64_t offset, std::string_view text) {
  REQUIRE(file.write(offset, bytes_of(text)) == guest::linux::Or<std::uint64_t>(text.size()));
}

inline std::string get(guest::linux::File& file, std::uint64_t offset, std::size_t bytes) {
  std::vector<std::byte> to(bytes);
  const guest::linux::Or<std::uint64_t> got = file.read(offset, to);
  REQUIRE(got);
  return {reinterpret_cast<const char*>(to.data()), *got};
}

} // namespace test_support
