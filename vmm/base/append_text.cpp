// SPDX-License-Identifier: MIT
#include "vmm/base/append_text.hpp"

namespace vmm {

void append_arguments(std::string& text, fmt::string_view format, fmt::format_args arguments) {
  text += fmt::vformat(format, arguments);
}

} // namespace vmm
