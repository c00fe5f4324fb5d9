// SPDX-License-Identifier: MIT
// What a process may use at most (getrlimit(2)). Of them those on descriptors are kept to; the
// others are what the program has said.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "guest/linux/files/open_files.hpp"

namespace guest::linux {

class Limits {
 public:
  Limits() {
    all_.fill({RLIM_INFINITY, RLIM_INFINITY});
    all_[RLIMIT_STACK].rlim_cur = std::uint64_t{8} << 20;
    all_[RLIMIT_NOFILE] = {OpenFiles::usual_descriptors, OpenFiles::max_descriptors};
    all_[RLIMIT_CORE] = {0, 0};
  }

  static constexpr std::uint64_t count = RLIM_NLIMITS;
  [[nodiscard]] const rlimit& of(std::uint64_t resource) const { return all_[resource]; }
  // EINVAL; EPERM for what is more than was allowed.
  [[nodiscard]] int set(std::uint64_t resource, const rlimit& wanted) {
    if (wanted.rlim_cur > wanted.rlim_max) {
      return EINVAL;
    }
    if (wanted.rlim_max > all_[resource].rlim_max) {
      return EPERM;
    }
    all_[resource] = wanted;
    return 0;
  }

 private:
  std::array<rlimit, count> all_{};
};

} // namespace guest::linux
