// SPDX-License-Identifier: MIT
// File calls of a program to the host, by the calling vCPU's mailbox (shared/file_call.hpp).
#pragma once

#include <cstdint>

#include "guest/kernel/kernel.hpp"
#include "guest/linux/files/file_port.hpp"

namespace guest {

class FileMailbox final : public linux::FilePort {
 public:
  // `calls` counts them.
  FileMailbox(Kernel& kernel, std::uint64_t& calls) : kernel_(kernel), calls_(calls) {}

  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call) override;

 private:
  Kernel& kernel_;
  std::uint64_t& calls_;
};

} // namespace guest
