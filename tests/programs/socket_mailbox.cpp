// SPDX-License-Identifier: MIT
// A hostile program: it goes past its kernel and writes socket calls into the mailbox itself, which
// the border between it and the host must bear. Arguments: the address and port that it may connect
// to, which are a port of the host's that is its own, and the port that it may listen at. It says
// "survived" when every answer was one that makes sense. Without arguments it has no network, and
// says so if nobody answers.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shared/socket_call.hpp"
#include "tests/programs/raw_mailbox.hpp"

namespace {

using hostile::expect;
using hostile::good;
using hostile::gpa_of;
using hostile::hole_gpa;
using hostile::ram_bytes;

using abi::SocketOperation;

constexpr unsigned connections = 24; // each with as much in it as the host takes
constexpr unsigned operations = 16;

abi::SocketMailbox& mailbox() {
  return hostile::mailbox_at<abi::SocketCall>(EBB_SOCKET_MAILBOX);
}

auto& board = hostile::in_ram<abi::SocketBoard>();
auto& buffer = hostile::in_ram<char[std::size_t{1} << 18]>();

abi::CallResult ask(const abi::SocketCall& call) {
  return hostile::ask_by(mailbox(), abi::Hypercall::socket, call);
}

abi::CallResult ask_on(SocketOperation operation, abi::CallResult socket, std::uint32_t mode = 0,
                       std::int64_t value = 0) {
  return ask({.operation = operation,
              .socket = static_cast<std::uint32_t>(socket),
              .mode = mode,
              .value = value,
              .buffer_gpa = gpa_of(buffer),
              .buffer_bytes = sizeof buffer});
}

abi::CallResult connect_to(const abi::SocketAddress& end) {
  std::memcpy(buffer, &end, sizeof end);
  return ask_on(SocketOperation::connect, 0);
}

// Numbers never given, lengths and addresses that are nobody's. Not a start: a board in page 0 is
// this guest's own business, and its end.
void ask_nonsense() {
  constexpr std::uint64_t huge = ~std::uint64_t{0};
  for (std::uint32_t operation = 0; operation < 64; operation += operation == 0 ? 2 : 1) {
    for (const std::uint32_t socket : {500U, 1023U, 1024U, 65536U, ~0U}) {
      for (const std::uint64_t gpa :
           {std::uint64_t{0}, ram_bytes - 8, ram_bytes, hole_gpa, huge - 7}) {
        for (const std::uint64_t bytes :
             {std::uint64_t{0}, std::uint64_t{24}, abi::socket_transfer_bytes, huge}) {
          expect(ask({.operation = SocketOperation{operation},
                      .socket = socket,
                      .flags = socket & 15,
                      .mode = socket,
                      .value = static_cast<std::int64_t>(bytes),
                      .buffer_gpa = gpa,
                      .buffer_bytes = bytes}) < 0,
                 "nonsense was carried out");
        }
      }
    }
  }
}

// Everything beside the one end, and the one port.
void ask_for_ways_out(const abi::SocketAddress& allowed, std::uint16_t port) {
  for (unsigned other = 0; other <= 0xffff; other += other < 1024 ? 1 : 97) {
    abi::SocketAddress end = allowed;
    end.port = static_cast<std::uint16_t>(other);
    expect(other == allowed.port || connect_to(end) == -EACCES, "another port was reached");
    expect(other == port || ask_on(SocketOperation::listen, 0, 1, other) == -EACCES,
           "another port was listened at");
  }
  for (unsigned byte = 0; byte < 4; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      abi::SocketAddress end = allowed;
      end.address[byte] = static_cast<std::uint8_t>(end.address[byte] ^ (1U << bit));
      expect(connect_to(end) == -EACCES, "another address was reached");
    }
  }
  for (unsigned family = 0; family < 64; ++family) {
    abi::SocketAddress end = allowed;
    end.family = static_cast<std::uint16_t>(family);
    expect(family == AF_INET || connect_to(end) < 0, "another family was reached");
  }
  abi::SocketAddress mapped{.family = AF_INET6, .port = allowed.port};
  mapped.address[10] = mapped.address[11] = 0xff;
  std::memcpy(mapped.address + 12, allowed.address, 4);
  expect(connect_to(mapped) == -EACCES, "an address within another was reached");
}

// Fills connections and never reads, half closes some, and lets all of them go at once; every
// option with every kind of value on the way.
void flood(const abi::SocketAddress& allowed, std::uint16_t port) {
  const abi::CallResult listener = ask_on(SocketOperation::listen, 0, ~0U, port);
  expect(listener >= 0, "cannot listen");
  expect(ask_on(SocketOperation::listen, 0, 1, port) == -EADDRINUSE, "listens twice");
  abi::CallResult ends[2 * connections];
  for (unsigned index = 0; index < connections; ++index) {
    abi::CallResult& client = ends[2 * index];
    abi::CallResult& served = ends[2 * index + 1];
    client = connect_to(allowed);
    expect(client >= 0, "cannot connect");
    do {
      served = ask_on(SocketOperation::accept, listener);
    } while (served == -EAGAIN);
    expect(served >= 0, "cannot accept");
  }
  for (const abi::CallResult end : ends) {
    for (std::uint32_t option = 0; option < operations; ++option) {
      for (const std::int64_t value : {std::int64_t{-2}, std::int64_t{0}, std::int64_t{1},
                                       std::int64_t{65535}, INT64_MAX, INT64_MIN}) {
        ask_on(SocketOperation::set_option, end, option, value);
        ask_on(SocketOperation::get_option, end, option);
      }
    }
    ask_on(SocketOperation::set_option, end, static_cast<std::uint32_t>(abi::SocketOption::linger),
           65535);
  }
  for (unsigned round = 0; round < 30; ++round) {
    for (const abi::CallResult end : ends) {
      const abi::CallResult sent = ask_on(SocketOperation::send, end);
      expect(sent > 0 || sent == -EAGAIN, "cannot send");
    }
  }
  for (unsigned index = 0; index < connections; ++index) {
    ask_on(SocketOperation::shutdown, ends[2 * index], index % 4);
  }
  for (const abi::CallResult end : ends) {
    expect(ask_on(SocketOperation::close, end) == 0, "cannot close");
    expect(ask_on(SocketOperation::close, end) == -EBADF, "closes twice");
  }
  expect(ask_on(SocketOperation::close, listener) == 0, "cannot stop listening");
}

// Numbers until there are none.
void exhaust(const abi::SocketAddress& allowed, std::uint16_t port) {
  const abi::CallResult listener = ask_on(SocketOperation::listen, 0, 4096, port);
  unsigned taken = 0;
  abi::CallResult result = 0;
  while ((result = connect_to(allowed)) >= 0) {
    ++taken;
    expect(taken <= abi::max_sockets, "sockets without an end");
  }
  expect(result == -EMFILE, "the end of sockets is another");
  expect(ask_on(SocketOperation::accept, listener) == -EMFILE, "a socket beyond the last");
  for (std::uint32_t socket = 0; socket < abi::max_sockets; ++socket) {
    ask_on(SocketOperation::close, socket);
  }
}

// The host looks at the mailbox while all of it changes; nobody waits for an answer.
void ask_without_waiting() {
  abi::SocketMailbox& box = mailbox();
  for (std::uint32_t count = 0; count < 200000; ++count) {
    box.call.operation = SocketOperation{count % operations};
    box.call.socket = count % 8;
    box.call.flags = count % 8;
    box.call.mode = count % 17;
    box.call.value = count;
    box.call.buffer_gpa = count % 3 == 0 ? gpa_of(buffer) : hostile::wild_gpa(count);
    box.call.buffer_bytes = count % sizeof buffer;
    board.waits = count;
    if (count % 16 == 0) {
      std::atomic_ref(box.asked).store(count * 7);
    }
    if (count % 4096 == 0) {
      hostile::kick(abi::Hypercall::socket);
    }
  }
}

} // namespace

int main(int count, char** arguments) {
  if (count == 1) {
    mailbox().asked = 1;
    hostile::kick(abi::Hypercall::socket);
    const auto& page = *reinterpret_cast<abi::VcpuPage*>(EBB_VCPU_PAGE_GPA);
    const bool unknown = page.result == static_cast<std::uint64_t>(abi::Status::unknown);
    std::puts(unknown && mailbox().answered == 0 ? "nobody answers" : "somebody answers");
    return 0;
  }
  if (count != 4) {
    return 2;
  }
  abi::SocketAddress allowed{.family = AF_INET,
                             .port = static_cast<std::uint16_t>(std::atoi(arguments[2]))};
  inet_pton(AF_INET, arguments[1], allowed.address);
  const auto port = static_cast<std::uint16_t>(std::atoi(arguments[3]));
  // Its kernel may have done so.
  const abi::CallResult started = ask({.operation = SocketOperation::start,
                                       .buffer_gpa = gpa_of(&board),
                                       .buffer_bytes = sizeof board});
  expect(started == 0 || started == -EINVAL, "there is no board");
  ask_nonsense();
  ask_for_ways_out(allowed, port);
  flood(allowed, port);
  exhaust(allowed, port);
  ask_without_waiting();
  // It still answers who asks as it should.
  const abi::CallResult listener = ask_on(SocketOperation::listen, 0, 1, port);
  expect(listener >= 0 || listener == -EADDRINUSE, "an honest call is refused");
  std::puts(good ? "survived" : "something was wrong");
  return 0;
}
