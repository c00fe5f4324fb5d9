// SPDX-License-Identifier: MIT
// What a run will need after it has given up everything else.
#pragma once

#include "vmm/run_files.hpp"
#include "vmm/sandbox/sandbox.hpp"
#include "vmm/settings/config.hpp"

namespace vmm {

[[nodiscard]] SandboxOptions sandbox_request(const Config& config, const RunFiles& files);

} // namespace vmm
