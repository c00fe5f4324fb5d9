// SPDX-License-Identifier: MIT
#include "vmm/trace/frame_map.hpp"

#include <algorithm>
#include <bit>

namespace hvtrace {
namespace {

struct Frames {
  Frames(std::uint64_t gpa, std::uint8_t order)
      : begin(gpa >> abi::page_shift), end(begin + abi::Order{order}.frames()) {}
  std::uint64_t begin, end;
};

} // namespace

bool FrameMap::holds(std::uint64_t gpa, std::uint8_t order) const {
  if (order > abi::max_order || gpa % abi::Order{order}.bytes() != 0) {
    return false;
  }
  const std::uint64_t frame = gpa >> abi::page_shift;
  const std::uint64_t length = abi::Order{order}.frames();
  return length <= bytes_.size() && frame <= bytes_.size() - length;
}

std::optional<std::uint64_t> FrameMap::first_in_flight(std::uint64_t gpa,
                                                       std::uint8_t order) const {
  for (auto [frame, end] = Frames(gpa, order); frame < end; ++frame) {
    if (in_flight(frame)) {
      return frame << abi::page_shift;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> FrameMap::first_of(std::uint64_t gpa, std::uint8_t order,
                                                FrameState wanted) const {
  for (auto [frame, end] = Frames(gpa, order); frame < end; ++frame) {
    if (state(frame) == wanted) {
      return frame << abi::page_shift;
    }
  }
  return std::nullopt;
}

void FrameMap::set_state(std::uint64_t gpa, std::uint8_t order, FrameState state) {
  for (auto [frame, end] = Frames(gpa, order); frame < end; ++frame) {
    bytes_[frame] =
        static_cast<std::uint8_t>((bytes_[frame] & flight_bit) | static_cast<unsigned>(state));
  }
}

void FrameMap::set_flight(std::uint64_t gpa, std::uint8_t order, bool in_flight) {
  for (auto [frame, end] = Frames(gpa, order); frame < end; ++frame) {
    bytes_[frame] = static_cast<std::uint8_t>((bytes_[frame] & state_mask) |
                                              (in_flight ? flight_bit : std::uint8_t{0}));
  }
}

std::array<BytesByOrder, frame_state_count> FrameMap::bytes_by_order() const {
  std::array<BytesByOrder, frame_state_count> sums{};
  for (std::uint64_t frame = 0; frame < bytes_.size();) {
    const FrameState of = state(frame);
    std::uint64_t end = frame + 1;
    while (end < bytes_.size() && state(end) == of) {
      ++end;
    }
    // A run of frames as aligned blocks, as a buddy allocator would have them.
    while (frame < end) {
      const int aligned = std::min(std::countr_zero(frame), static_cast<int>(abi::max_order));
      const int fitting = static_cast<int>(std::bit_width(end - frame)) - 1;
      const auto order = static_cast<std::uint8_t>(std::min(aligned, fitting));
      sums[static_cast<std::size_t>(of) % frame_state_count][order] += abi::Order{order}.bytes();
      frame += abi::Order{order}.frames();
    }
  }
  return sums;
}

} // namespace hvtrace
