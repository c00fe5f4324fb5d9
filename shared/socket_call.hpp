// SPDX-License-Identifier: MIT
// Socket calls, since ABI 1.2 with feature_sockets: what a program in the guest may do with TCP
// connections of the host's, by its own mailbox (shared/call_mailbox.hpp) at EBB_SOCKET_MAILBOX and
// the hypercall `socket`.
//
// Sockets have numbers, 0 to max_sockets - 1, that the host gives and that mean nothing beyond its
// own table. No call waits: EAGAIN. What became ready meanwhile is written to the board, in guest
// memory: the guest need not ask. Buffers are RAM or the guest's own area, and at most
// socket_transfer_bytes long. Only what the vmm was told to allow is listened at and connected to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/call_mailbox.hpp"
#include "shared/file_call.hpp"
#include "shared/layout.h"

namespace abi {

enum class SocketOperation : std::uint32_t {
  // The buffer, which begins at a multiple of 64 and holds a SocketBoard, is the board from now on.
  // First and once. Result: 0.
  start = 1,
  // Takes connections for `value`, a port of the guest's; `mode` of them may wait. Result: a
  // number;
  // EACCES: not allowed; EADDRINUSE: somebody in the guest does already.
  listen = 2,
  // The next connection that has come to a listening socket; whose it is goes into the buffer, a
  // SocketAddress, if there is one. Result: a number; EAGAIN.
  accept = 3,
  // Begins a connection to the SocketAddress in the buffer. Result: a number; it is
  // socket_writable once connected, and socket_failed if that fails: `error` says why. EACCES: not
  // allowed.
  connect = 4,
  // The buffer's bytes, with socket_more: others follow at once. Result: bytes; EAGAIN, EPIPE.
  send = 5,
  // Into the buffer; with socket_peek they stay. Result: bytes; 0 at the end; EAGAIN.
  receive = 6,
  // `mode` as shutdown(2) has it. Result: 0.
  shutdown = 7,
  close = 8,
  // The own SocketAddress into the buffer, with socket_peer the other end's. Result: 0.
  name = 9,
  // What went wrong since it was asked last, as SO_ERROR. Result: an error number, positive, or 0.
  error = 10,
  // The option `mode`, a SocketOption, becomes `value`. Result: 0.
  set_option = 11,
  get_option = 12, // Result: its value
  // How much could be received at once. Result: bytes.
  readable_bytes = 13,
};

enum SocketFlags : std::uint32_t {
  socket_more = 1U << 0,
  socket_peek = 1U << 1,
  socket_peer = 1U << 2,
};

// What of SOL_SOCKET and IPPROTO_TCP may be had; values as there, unless said otherwise.
enum class SocketOption : std::uint32_t {
  no_delay = 1,            // TCP_NODELAY
  cork = 2,                // TCP_CORK
  keep_alive = 3,          // SO_KEEPALIVE
  keep_idle = 4,           // TCP_KEEPIDLE
  keep_interval = 5,       // TCP_KEEPINTVL
  keep_count = 6,          // TCP_KEEPCNT
  user_timeout = 7,        // TCP_USER_TIMEOUT
  quick_ack = 8,           // TCP_QUICKACK
  send_bytes = 9,          // SO_SNDBUF, as getsockopt tells it
  receive_bytes = 10,      // SO_RCVBUF, likewise
  linger = 11,             // SO_LINGER: seconds, or -1: does not
  out_of_band_inline = 12, // SO_OOBINLINE
};

inline constexpr std::uint32_t max_sockets = 1024;
inline constexpr std::uint64_t socket_transfer_bytes = std::uint64_t{1} << 20;

struct SocketCall {
  SocketOperation operation{};
  std::uint32_t socket = 0;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;
  std::int64_t value = 0;
  std::uint64_t buffer_gpa = 0;
  std::uint64_t buffer_bytes = 0;
};
static_assert(offsetof(SocketCall, socket) == 4);
static_assert(offsetof(SocketCall, mode) == 12);
static_assert(offsetof(SocketCall, value) == 16);
static_assert(offsetof(SocketCall, buffer_gpa) == 24);
static_assert(sizeof(SocketCall) == 40);

using SocketMailbox = CallMailbox<SocketCall>;
static_assert(sizeof(SocketMailbox) == 64);
static_assert(EBB_SOCKET_MAILBOX >= EBB_FILE_MAILBOX + sizeof(FileMailbox));
static_assert(EBB_SOCKET_MAILBOX + sizeof(SocketMailbox) <= EBB_VCPU_OWN);

// An end of a connection. The families are Linux's: 2 (IPv4, in the first 4 bytes) and 10 (IPv6).
struct SocketAddress {
  std::uint16_t family = 0;
  std::uint16_t port = 0;  // as a number
  std::uint32_t scope = 0; // of IPv6
  std::uint8_t address[16] = {};
};
static_assert(sizeof(SocketAddress) == 24);

enum SocketReadiness : std::uint32_t {
  socket_readable = 1U << 0, // bytes, the end, an error, or a connection to accept
  socket_writable = 1U << 1,
  socket_ended = 1U << 2,   // nothing comes any more (POLLRDHUP)
  socket_hung_up = 1U << 3, // nor goes (POLLHUP)
  socket_failed = 1U << 4,  // POLLERR
};

// Host-written. `ready` is what poll(2) would say, as of the last call or change. `changes` counts
// what became so, bits that were set already, too.
struct SocketState {
  std::uint32_t ready = 0;
  std::uint32_t changes = 0;
};

// The guest sets `waits` when it is to be interrupted at the next change; the host clears it, sets
// the bit socket_stream in vCPU 0's VcpuPage::streams_ready, and interrupts that vCPU.
struct SocketBoard {
  std::uint32_t waits = 0;
  std::uint32_t reserved[15] = {};
  SocketState states[max_sockets];
};
static_assert(offsetof(SocketBoard, states) == 64);
static_assert(sizeof(SocketBoard) == 64 + 8 * max_sockets);
inline constexpr unsigned socket_stream = 3;

} // namespace abi
