// SPDX-License-Identifier: MIT
// What the user's terminal can show, as the environment says.
#pragma once

namespace vmm {

// Whether it moves its cursor and clears its screen when told to: not with TERM=dumb or without
// TERM, nor where the user wants plain text (NO_COLOR, https://no-color.org).
[[nodiscard]] bool terminal_obeys_escapes();

// Whether text may have more than ASCII in it: the locale's encoding by LC_ALL, LC_CTYPE and LANG,
// the first that is set (POSIX, Base Definitions, 8.2).
[[nodiscard]] bool text_may_be_utf8();

} // namespace vmm
