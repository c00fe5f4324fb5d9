// SPDX-License-Identifier: MIT
#include "vmm/sockets/socket_service.hpp"

#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <string_view>
#include <thread>

#include <doctest/doctest.h>

#include "shared/layout.h"
#include "vmm/base/units.hpp"
#include "vmm/sockets/socket_address.hpp"

using namespace vmm;
using abi::SocketOperation;

namespace {

constexpr std::uint64_t board_gpa = mib;
constexpr std::uint64_t buffer_gpa = 2 * mib;
constexpr std::uint16_t guest_port = 80;

abi::SocketAddress loopback() {
  abi::SocketAddress address{.family = AF_INET};
  address.address[0] = 127;
  address.address[3] = 1;
  return address;
}

// A guest with one vCPU, as a thread of its own sees it: mailbox, board, and an interrupt.
class Guest {
 public:
  Guest() {
    REQUIRE(memory_);
    NetworkRequest request;
    request.listens.push_back({"0", loopback(), guest_port});
    auto network = AllowedNetwork::open(request);
    REQUIRE(network);
    end_ = network->ports().front().address();
    auto made = SocketService::create(std::move(*network), *memory_, 1, page(), [this] {
      interrupts_.fetch_add(1);
      interrupts_.notify_all();
    });
    REQUIRE(made);
    service_ = std::move(*made);
    REQUIRE(service_->start({}));
  }

  abi::CallResult ask(SocketOperation operation, std::uint32_t socket = 0, std::int64_t value = 0,
                      std::uint64_t gpa = buffer_gpa, std::uint64_t bytes = 4096) {
    auto& box = *memory_->object_at<abi::SocketMailbox>({EBB_VCPU_PAGE_GPA + EBB_SOCKET_MAILBOX});
    box.call = {.operation = operation,
                .socket = socket,
                .mode = 8,
                .value = value,
                .buffer_gpa = gpa,
                .buffer_bytes = bytes};
    const std::uint32_t asked = box.asked + 1;
    std::atomic_ref(box.asked).store(asked, std::memory_order_seq_cst);
    if (std::atomic_ref(box.host_watches).load(std::memory_order_seq_cst) == 0) {
      service_->serve();
    }
    while (std::atomic_ref(box.answered).load(std::memory_order_acquire) != asked) {
      std::this_thread::yield();
    }
    return std::atomic_ref(box.result).load();
  }
  // As the guest's kernel waits: it says so, looks once more, and halts until it is interrupted.
  void wait_for(std::uint32_t socket, std::uint32_t ready) {
    auto& board = *memory_->object_at<abi::SocketBoard>({board_gpa});
    for (;;) {
      const unsigned seen = interrupts_.load();
      std::atomic_ref(board.waits).store(1, std::memory_order_seq_cst);
      if ((std::atomic_ref(board.states[socket].ready).load() & ready) == ready) {
        return;
      }
      interrupts_.wait(seen);
      CHECK(std::atomic_ref(page().streams_ready).exchange(0) == std::uint64_t{1}
                                                                     << abi::socket_stream);
    }
  }
  std::string_view text(abi::CallResult bytes) {
    const auto span = memory_->at({buffer_gpa}, static_cast<std::uint64_t>(bytes));
    return {reinterpret_cast<const char*>(span.data()), span.size()};
  }
  [[nodiscard]] const abi::SocketAddress& end() const { return end_; }

 private:
  abi::VcpuPage& page() { return *memory_->object_at<abi::VcpuPage>({EBB_VCPU_PAGE_GPA}); }

  Result<GuestMemory> memory_ = GuestMemory::create(16 * mib, Backing::small_pages);
  abi::SocketAddress end_;
  std::atomic<unsigned> interrupts_{0};
  std::unique_ptr<SocketService> service_;
};

} // namespace

TEST_CASE("socket service: a guest that halts is interrupted by what comes, and loses none of it") {
  Guest guest;
  REQUIRE(guest.ask(SocketOperation::start, 0, 0, board_gpa, sizeof(abi::SocketBoard)) == 0);
  const auto listener =
      static_cast<std::uint32_t>(guest.ask(SocketOperation::listen, 0, guest_port));
  constexpr unsigned rounds = 300;
  // A client that sends a byte, and the next once that has come back.
  std::atomic<unsigned> echoed{0};
  std::jthread client([&] {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const KernelAddress address = kernel_address(guest.end()).value();
    if (::connect(fd.get(), address.generic(), address.bytes) != 0) {
      return;
    }
    for (unsigned round = 0; round < rounds; ++round) {
      const char sent = static_cast<char>('a' + round % 26);
      char got = 0;
      if (::send(fd.get(), &sent, 1, MSG_NOSIGNAL) == 1 && ::recv(fd.get(), &got, 1, 0) == 1 &&
          got == sent) {
        ++echoed;
      }
    }
  });
  guest.wait_for(listener, abi::socket_readable);
  const auto socket = static_cast<std::uint32_t>(guest.ask(SocketOperation::accept, listener));
  for (;;) {
    guest.wait_for(socket, abi::socket_readable);
    const abi::CallResult got = guest.ask(SocketOperation::receive, socket);
    if (got == 0) {
      break;
    }
    REQUIRE(got > 0);
    REQUIRE(guest.ask(SocketOperation::send, socket, 0, buffer_gpa,
                      static_cast<std::uint64_t>(got)) == got);
  }
  client.join();
  CHECK(echoed == rounds);
}
