// SPDX-License-Identifier: MIT
// How a program's calls reach the host's files.
#pragma once

#include <cstdint>

#include "shared/file_call.hpp"

namespace guest::linux {

// How a call names a buffer or a path: by the address at which it is seen here.
[[nodiscard]] inline std::uint64_t address_of(const void* buffer) {
  return reinterpret_cast<std::uint64_t>(buffer);
}

class FilePort {
 public:
  // shared/file_call.hpp says what each operation does. Buffers may be any memory of the guest.
  [[nodiscard]] virtual abi::FileResult perform(const abi::FileCall& call) = 0;

 protected:
  FilePort() = default;
  ~FilePort() = default;
};

} // namespace guest::linux
