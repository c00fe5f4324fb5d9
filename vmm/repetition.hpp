// SPDX-License-Identifier: MIT
// --repeat: the same run again and again, each in a process of its own, for what one has given up
// it does not get back.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/report/repeated_runs.hpp"

namespace vmm {

struct Repetition {
  std::vector<RepeatedRun> runs; // that ended with status 0
  int exit_status = 0;           // of the one that did not, and was the last
};

// Runs `run` up to `times` times, until one fails or a signal asks for the end, which the run hears
// of, too. `run` gets where to write what hand_over() does, and returns its exit status. Before any
// other thread is made.
[[nodiscard]] Result<Repetition> repeat(std::size_t times,
                                        const std::function<int(UniqueFd results)>& run);

// At a run's end.
[[nodiscard]] Result<void> hand_over(const RepeatedRun& run, const UniqueFd& results);

} // namespace vmm
