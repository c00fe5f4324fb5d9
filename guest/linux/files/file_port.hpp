// SPDX-License-Identifier: MIT
// How a program's calls reach the host's files.
#pragma once

#include "shared/file_call.hpp"

namespace guest::linux {

class FilePort {
 public:
  // shared/file_call.hpp says what each operation does. Buffers may be any memory of the guest.
  [[nodiscard]] virtual abi::FileResult perform(const abi::FileCall& call) = 0;

 protected:
  FilePort() = default;
  ~FilePort() = default;
};

} // namespace guest::linux
