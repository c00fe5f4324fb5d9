// SPDX-License-Identifier: MIT
#include "guest/linux/sockets/translated_sockets.hpp"

namespace guest::linux {

abi::CallResult TranslatedSockets::perform(const abi::SocketCall& call) {
  return call.buffer_bytes != 0 ? transfer(call) : host_.perform(call);
}

// A part that did not go whole is the last: there is no more room, or no more has come.
abi::CallResult TranslatedSockets::transfer(abi::SocketCall call) {
  const bool is_split =
      call.operation == abi::SocketOperation::send ||
      (call.operation == abi::SocketOperation::receive && (call.flags & abi::socket_peek) == 0);
  const std::uint32_t flags = call.flags;
  std::uint64_t address = call.buffer_gpa;
  std::uint64_t left = call.buffer_bytes;
  abi::CallResult done = 0;
  for (;;) {
    const Or<AddressSpace::Place> place = memory_.place_of(address, left);
    if (!place) {
      return done != 0 ? done : -abi::CallResult{place.error()};
    }
    const bool is_last = place->bytes == left || !is_split;
    const bool is_sent = call.operation == abi::SocketOperation::send;
    call.flags = is_sent && !is_last ? flags | abi::socket_more : flags;
    call.buffer_gpa = place->gpa.value;
    call.buffer_bytes = place->bytes;
    const abi::CallResult result = host_.perform(call);
    if (result < 0 || !is_split) {
      return done != 0 ? done : result;
    }
    const auto bytes = static_cast<std::uint64_t>(result);
    done += result;
    address += bytes;
    left -= bytes;
    if (bytes < place->bytes || is_last) {
      return done;
    }
  }
}

} // namespace guest::linux
