// SPDX-License-Identifier: MIT
#include "vmm/profile/stack_walk.hpp"

namespace vmm {
namespace {

// No frame of a function is larger than a whole stack.
constexpr std::uint64_t most_frame_bytes = std::uint64_t{8} << 20;
// Nothing is mapped below it.
constexpr std::uint64_t lowest_code = 4096;

} // namespace

std::vector<std::uint64_t> walk_stack(const CodePlace& place, const StackReader& read) {
  std::vector<std::uint64_t> addresses{place.instruction};
  std::uint64_t frame = place.frame_pointer;
  while (addresses.size() < most_frames && frame != 0 && frame % sizeof frame == 0) {
    const auto words = read(frame); // the caller's frame pointer, and where to return to
    if (!words || words->second < lowest_code) {
      break;
    }
    // A return address lies behind its call, which may be the last instruction of its function.
    addresses.push_back(words->second - 1);
    if (words->first <= frame || words->first - frame > most_frame_bytes) {
      break;
    }
    frame = words->first;
  }
  return addresses;
}

} // namespace vmm
