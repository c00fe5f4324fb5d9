// SPDX-License-Identifier: MIT
// The two choices a user has about guest memory: what backs it, and how a hinted range goes back.
#pragma once

#include <cstdint>
#include <string_view>

namespace vmm {

enum class Backing : std::uint8_t {
  thp,         // private anonymous, transparent huge pages asked for
  small_pages, // private anonymous, 4 KiB pages only ("4k" on the command line)
  memfd,       // shared, from memfd_create
  hugetlb,     // reserved 2 MiB pages
};

// How anonymous memory is discarded; memfd and hugetlb are hole punched unless it is `none`.
enum class DiscardMethod : std::uint8_t {
  dontneed,    // MADV_DONTNEED: gone now, reads as zero
  free_lazily, // MADV_FREE: gone when the host needs it ("free" on the command line)
  none,        // every hint is declined
};

// Names as on the command line.
constexpr std::string_view name_of(Backing backing) {
  switch (backing) {
  case Backing::thp:
    return "thp";
  case Backing::small_pages:
    return "4k";
  case Backing::memfd:
    return "memfd";
  case Backing::hugetlb:
    return "hugetlb";
  }
  return "?";
}

constexpr std::string_view name_of(DiscardMethod method) {
  switch (method) {
  case DiscardMethod::dontneed:
    return "dontneed";
  case DiscardMethod::free_lazily:
    return "free";
  case DiscardMethod::none:
    return "none";
  }
  return "?";
}

} // namespace vmm
