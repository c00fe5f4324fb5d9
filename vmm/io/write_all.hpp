// SPDX-License-Identifier: MIT
// Writing a whole text by a descriptor that may take it in pieces.
#pragma once

#include <string_view>

namespace vmm {

// From where the descriptor stands; one that does not block is waited for. 0, or the errno of why
// not all of it was written.
[[nodiscard]] int write_all(int fd, std::string_view text);

} // namespace vmm
