// SPDX-License-Identifier: MIT
// Random bytes that are fit for secrets: the host's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/files/file_port.hpp"

namespace guest::linux {

// All of `to`, or as much as the host gave before an error; an error if that is nothing.
[[nodiscard]] Or<std::uint64_t> fill_with_random(FilePort& port, std::span<std::byte> to);

// The same for who asks often and for little: a request to the host costs more than the bytes.
class RandomBytes {
 public:
  explicit RandomBytes(FilePort& port) : port_(port) {}

  [[nodiscard]] Or<std::uint64_t> fill(std::span<std::byte> to);

 private:
  static constexpr std::size_t most_kept = 32; // of one request, out of what is kept

  FilePort& port_;
  std::array<std::byte, abi::random_bytes> kept_{}; // zero where handed out
  std::size_t left_ = 0;                            // at its end
};

} // namespace guest::linux
