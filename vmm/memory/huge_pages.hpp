// SPDX-License-Identifier: MIT
// Whether this host's kernel has transparent huge pages, and what backs guest memory if not.
#pragma once

#include "vmm/settings/memory_policy.hpp"

namespace vmm {

// Whether the running kernel was built with them (madvise(2): MADV_HUGEPAGE), whatever it is set
// to.
[[nodiscard]] bool kernel_has_huge_pages();

// What backs guest memory where `wanted` is asked for: huge pages are advice, and a kernel without
// them gives small ones.
[[nodiscard]] Backing backing_here(Backing wanted);

} // namespace vmm
