// SPDX-License-Identifier: MIT
#include "vmm/settings/gdb_address.hpp"

#include <limits>
#include <optional>

#include "vmm/base/units.hpp"

namespace vmm {

Result<GdbAddress> parse_gdb_address(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:";
  GdbAddress address;
  if (text.starts_with(unix_prefix)) {
    address.path = text.substr(unix_prefix.size());
    if (address.path.empty()) {
      return user_error("--gdb {:?}: the path is empty", text);
    }
    return address;
  }
  const std::optional<std::uint64_t> port = parse_number(text);
  if (!port || *port > std::numeric_limits<std::uint16_t>::max()) {
    return user_error("--gdb {:?}: must be a port from 0 (any free one) to 65535, or unix:PATH",
                      text);
  }
  address.port = static_cast<std::uint16_t>(*port);
  return address;
}

} // namespace vmm
