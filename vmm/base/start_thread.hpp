// SPDX-License-Identifier: MIT
// A thread that cannot be started is an error of the environment, like any other call of the host's
// that fails: the C++ library throws there.
#pragma once

#include <string_view>
#include <system_error>

#include "vmm/base/result.hpp"

namespace vmm {

// Calls `start`, which starts one or more threads of `what`.
template <typename Start> Result<void> start_thread(std::string_view what, Start start) {
  try {
    start();
  } catch (const std::system_error& error) {
    return environment_error("cannot start a thread for {}: {}", what,
                             errno_text(error.code().value()));
  }
  return {};
}

} // namespace vmm
