// SPDX-License-Identifier: MIT
// For command lines that name no file of options.
#pragma once

#include <string>

#include "vmm/base/result.hpp"

namespace test_support {

inline vmm::Result<std::string> no_file(const std::string& path) {
  return vmm::user_error("{}: cannot open: there are no files here", path);
}

} // namespace test_support
