// SPDX-License-Identifier: MIT
// What of TCP setsockopt has said (abi::SocketOption), before there is a connection and of those
// within the guest. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shared/socket_call.hpp"

namespace guest::linux {

constexpr std::size_t index_of(abi::SocketOption option) {
  return static_cast<std::size_t>(option);
}

class TcpOptions {
 public:
  [[nodiscard]] std::int64_t get(abi::SocketOption option) const {
    return values_[index_of(option)];
  }
  void set(abi::SocketOption option, std::int64_t value) { values_[index_of(option)] = value; }
  // Those that are not as Linux begins with them.
  template <typename Visit> void visit_changed(Visit visit) const {
    for (std::size_t index = 1; index < count; ++index) {
      if (values_[index] != usual[index]) {
        visit(static_cast<abi::SocketOption>(index), values_[index]);
      }
    }
  }

 private:
  static constexpr std::size_t count = index_of(abi::SocketOption::out_of_band_inline) + 1;
  using Values = std::array<std::int64_t, count>;
  static constexpr Values usual = [] {
    using Option = abi::SocketOption;
    Values values{};
    values[index_of(Option::keep_idle)] = 7200;
    values[index_of(Option::keep_interval)] = 75;
    values[index_of(Option::keep_count)] = 9;
    values[index_of(Option::quick_ack)] = 1;
    values[index_of(Option::linger)] = -1;
    return values;
  }();

  Values values_ = usual;
};

} // namespace guest::linux
