// SPDX-License-Identifier: MIT
#include "vmm/vcpu/console.hpp"

#include <string>

#include "shared/hypercall.hpp"
#include "vmm/base/printable.hpp"

namespace vmm {

bool Console::write(abi::Gpa gpa, std::uint64_t bytes) {
  const std::span<const std::byte> text = memory_.at(gpa, bytes);
  if (text.empty() || bytes > abi::console_write_bytes) {
    return false;
  }
  if (!copy_) {
    sink_(printable({reinterpret_cast<const char*>(text.data()), text.size()}));
    return true;
  }
  const std::optional<std::string> copy = copy_(gpa, text);
  if (copy) {
    sink_(printable(*copy));
  }
  return copy.has_value();
}

} // namespace vmm
