// SPDX-License-Identifier: MIT
// File calls with a program's addresses: finds where the host has what lies there, and makes
// several calls of one where it does not lie in a row.
#pragma once

#include "guest/linux/files/file_port.hpp"
#include "guest/linux/memory/address_space.hpp"

namespace guest::linux {

class TranslatedFiles final : public FilePort {
 public:
  // Both outlive this.
  TranslatedFiles(AddressSpace& memory, FilePort& host) : memory_(memory), host_(host) {}

  // Buffer and path are addresses as the program sees them, or the kernel's own. -ENOMEM when
  // there is no memory for a buffer that nobody has touched before.
  [[nodiscard]] abi::FileResult perform(const abi::FileCall& call) override;

 private:
  [[nodiscard]] abi::FileResult transfer(abi::FileCall call);
  [[nodiscard]] abi::FileResult by_copy(abi::FileCall call);

  AddressSpace& memory_;
  FilePort& host_;
};

} // namespace guest::linux
