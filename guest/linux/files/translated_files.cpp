// SPDX-License-Identifier: MIT
#include "guest/linux/files/translated_files.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace guest::linux {

namespace {

// Of a call whose buffer must be in one piece: entries of a directory are given in several calls.
constexpr std::uint64_t most_copied_bytes = std::uint64_t{1} << 16;
// Standard input, output and errors; who reads there must not wait for more than has come.
constexpr std::uint32_t streams = 3;

} // namespace

abi::FileResult TranslatedFiles::perform(const abi::FileCall& asked) {
  abi::FileCall call = asked;
  std::vector<char> path;
  if (call.path_bytes != 0) {
    Or<AddressSpace::Place> place = memory_.place_of(call.path_gpa, call.path_bytes);
    if (place && place->bytes < call.path_bytes) {
      // Justified: addresses are the program's own, checked by the caller.
      const auto* const text = reinterpret_cast<const char*>(call.path_gpa); // NOLINT
      path.assign(text, text + call.path_bytes);
      place = AddressSpace::Place{{reinterpret_cast<std::uint64_t>(path.data())}, path.size()};
    }
    if (!place) {
      return -abi::FileResult{place.error()};
    }
    call.path_gpa = place->gpa.value;
  }
  if (call.buffer_bytes == 0) {
    return host_.perform(call);
  }
  return call.operation == abi::FileOperation::read || call.operation == abi::FileOperation::write
             ? transfer(call)
             : by_copy(call);
}

abi::FileResult TranslatedFiles::transfer(abi::FileCall call) {
  const bool may_wait = call.operation == abi::FileOperation::read && call.file < streams;
  std::uint64_t address = call.buffer_gpa;
  std::uint64_t left = call.buffer_bytes;
  abi::FileResult done = 0;
  while (left != 0) {
    const Or<AddressSpace::Place> place = memory_.place_of(address, left);
    if (!place) {
      return done != 0 ? done : -abi::FileResult{place.error()};
    }
    call.buffer_gpa = place->gpa.value;
    call.buffer_bytes = place->bytes;
    const abi::FileResult result = host_.perform(call);
    if (result < 0) {
      return done != 0 ? done : result;
    }
    done += result;
    address += static_cast<std::uint64_t>(result);
    call.offset += static_cast<std::uint64_t>(result);
    left -= static_cast<std::uint64_t>(result);
    if (static_cast<std::uint64_t>(result) < place->bytes || may_wait) {
      break;
    }
  }
  return done;
}

abi::FileResult TranslatedFiles::by_copy(abi::FileCall call) {
  const Or<AddressSpace::Place> place = memory_.place_of(call.buffer_gpa, call.buffer_bytes);
  if (!place) {
    return -abi::FileResult{place.error()};
  }
  if (place->bytes == call.buffer_bytes) {
    call.buffer_gpa = place->gpa.value;
    return host_.perform(call);
  }
  call.buffer_bytes = std::min(call.buffer_bytes, most_copied_bytes);
  auto* const buffer = reinterpret_cast<char*>(call.buffer_gpa); // NOLINT: as above
  std::vector<char> copy(buffer, buffer + call.buffer_bytes);
  call.buffer_gpa = reinterpret_cast<std::uint64_t>(copy.data());
  const abi::FileResult result = host_.perform(call);
  if (result >= 0) {
    std::ranges::copy(copy, buffer);
  }
  return result;
}

} // namespace guest::linux
