// SPDX-License-Identifier: MIT
#include "vmm/io/standard_output.hpp"

#include <unistd.h>

#include <cerrno>

#include "vmm/io/write_all.hpp"

namespace vmm {

Result<void> write_standard_output(std::string_view text) {
  return standard_output_result(write_all(STDOUT_FILENO, text));
}

Result<void> standard_output_result(int error) {
  if (error == 0 || error == EPIPE) {
    return {};
  }
  return environment_error("standard output cannot be written: {}", errno_text(error));
}

} // namespace vmm
