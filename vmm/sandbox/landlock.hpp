// SPDX-License-Identifier: MIT
// Landlock: takes away the file system, but for a few folders, and the network, but for a few
// ports.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/result.hpp"

namespace vmm {

// Version of the kernel's Landlock interface; 0 when it offers none.
[[nodiscard]] unsigned landlock_version();

// What is left.
struct LandlockExceptions {
  std::span<const std::string>
      put_in_place{};                     // files may be removed, and one put in another's place
  std::span<const std::string> replace{}; // the same, and written
  std::span<const std::string> read{};    // files below may be read, folders listed
  std::span<const std::string> change{};  // the same, and anything ordinary may be changed below
  std::span<const std::uint16_t> connect_ports{}; // TCP ports of any address; from version 4 on
};

// The calling thread, and those it starts, may open no file any more, run no program, bind and
// connect no TCP port, and signal no other process; but for `exceptions`. What is open stays open,
// and what is bound stays bound. Needs forbid_new_privileges() and landlock_version() > 0; how much
// of this the kernel enforces grows with its version.
[[nodiscard]] Result<void> confine_by_landlock(const LandlockExceptions& exceptions);

} // namespace vmm
