// SPDX-License-Identifier: MIT
// The guest's console: text from guest memory to the user's output, made harmless.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shared/address.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace vmm {

class Console {
 public:
  using Sink = std::function<void(std::string_view)>;
  // A private copy of guest memory; empty when it may not be read just now.
  using Copy = std::function<std::optional<std::string>(abi::Gpa, std::span<const std::byte>)>;

  // `sink` gets printable text, in the order of write(); it may be called from any vCPU thread.
  // An empty `copy` may read everything.
  Console(const GuestMemory& memory, Sink sink, Copy copy = {})
      : memory_(memory), sink_(std::move(sink)), copy_(std::move(copy)) {}

  // Text of the guest at [gpa, gpa + bytes). False when that is not RAM, may not be read, or is
  // longer than abi::console_write_bytes.
  [[nodiscard]] bool write(abi::Gpa gpa, std::uint64_t bytes);

 private:
  const GuestMemory& memory_;
  Sink sink_;
  Copy copy_;
};

} // namespace vmm
