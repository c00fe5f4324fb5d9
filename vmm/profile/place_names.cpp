// SPDX-License-Identifier: MIT
#include "vmm/profile/place_names.hpp"

#include <string>

namespace vmm {

FunctionNames place_names(const ProgramCode& code, const Symbols& image, CodeLines lines) {
  return [&code, &image, lines](std::uint64_t place) {
    std::string name = code.function_at(place);
    const bool is_program = !name.empty();
    if (!is_program) {
      name = image.function_at(place);
    }
    if (lines == CodeLines::read && !name.empty()) {
      const std::string line = is_program ? code.line_at(place) : image.line_at(place);
      name += line.empty() ? std::string() : " (" + line + ")";
    }
    return name;
  };
}

} // namespace vmm
