// SPDX-License-Identifier: MIT
// The guest's console: text from guest memory to the user's output, made harmless.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "shared/address.hpp"
#include "vmm/guest_memory.hpp"

namespace vmm {

class Console {
 public:
  using Sink = std::function<void(std::string_view)>;

  // `sink` gets printable text, in the order of write(); it may be called from any vCPU thread.
  Console(const GuestMemory& memory, Sink sink) : memory_(memory), sink_(std::move(sink)) {}

  // Text of the guest at [gpa, gpa + bytes). False when that is not RAM or longer than
  // abi::console_write_bytes.
  [[nodiscard]] bool write(abi::Gpa gpa, std::uint64_t bytes);

 private:
  const GuestMemory& memory_;
  Sink sink_;
};

} // namespace vmm
