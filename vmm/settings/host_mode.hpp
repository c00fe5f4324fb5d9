// SPDX-License-Identifier: MIT
// How the host learns of submitted batches and where it works on them.
#pragma once

#include <cstdint>
#include <string_view>

namespace vmm {

enum class HostMode : std::uint8_t {
  sync,  // in the doorbell's exit, on the vCPU thread: answered before the doorbell returns
  async, // on worker threads, woken by a doorbell that does not leave the kernel
  poll,  // on worker threads that watch the rings; doorbells only wake them after a pause
};

inline constexpr std::uint32_t max_host_workers = 8;

// As on the command line.
constexpr std::string_view name_of(HostMode mode) {
  switch (mode) {
  case HostMode::sync:
    return "sync";
  case HostMode::async:
    return "async";
  case HostMode::poll:
    return "poll";
  }
  return "?";
}

} // namespace vmm
