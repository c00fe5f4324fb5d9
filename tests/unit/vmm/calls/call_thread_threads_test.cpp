// SPDX-License-Identifier: MIT
#include "vmm/calls/call_thread.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/units.hpp"
#include "vmm/calls/mailboxes.hpp"

using namespace vmm;

namespace {

struct Call {
  std::uint64_t number = 0;
};
using Mailbox = abi::CallMailbox<Call>;

constexpr std::uint64_t offset = EBB_FILE_MAILBOX;
constexpr unsigned vcpus = 2;

// Answers each call with its number and one more; events are counts of an eventfd.
class Source final : public CallSource {
 public:
  Source() { REQUIRE(events_.valid()); }

  bool answer() override {
    return mailboxes_.answer(
        [](const Call& call) { return static_cast<abi::CallResult>(call.number + 1); });
  }
  void tell(Watching watching) override { mailboxes_.tell(watching); }
  [[nodiscard]] int events_fd() const override { return events_.get(); }
  bool take_events() override {
    std::uint64_t count = 0;
    if (::read(events_.get(), &count, sizeof count) < 0) {
      return false;
    }
    taken.fetch_add(count);
    taken.notify_all();
    return true;
  }

  void happen() const { REQUIRE(::eventfd_write(events_.get(), 1) == 0); }
  void wait_for(std::uint64_t count) const {
    for (std::uint64_t now = taken.load(); now < count; now = taken.load()) {
      taken.wait(now);
    }
  }
  [[nodiscard]] Mailbox& mailbox(unsigned vcpu) const {
    return *memory_->object_at<Mailbox>(
        {EBB_VCPU_PAGE_GPA + std::uint64_t{vcpu} * abi::page_bytes + offset});
  }

  std::atomic<std::uint64_t> taken{0};

 private:
  Result<GuestMemory> memory_ = GuestMemory::create(16 * mib, Backing::small_pages);
  Mailboxes<Call> mailboxes_{*memory_, vcpus, offset};
  UniqueFd events_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

// As a guest does: the hypercall only where nobody watches.
std::uint64_t ask(const Source& source, CallThread& thread, unsigned vcpu, std::uint64_t number) {
  Mailbox& mailbox = source.mailbox(vcpu);
  mailbox.call.number = number;
  const std::uint32_t asked = mailbox.asked + 1;
  std::atomic_ref(mailbox.asked).store(asked, std::memory_order_seq_cst);
  if (std::atomic_ref(mailbox.host_watches).load(std::memory_order_seq_cst) == 0) {
    thread.serve();
  }
  while (std::atomic_ref(mailbox.answered).load(std::memory_order_acquire) != asked) {
    std::this_thread::yield();
  }
  return static_cast<std::uint64_t>(std::atomic_ref(mailbox.result).load());
}

} // namespace

TEST_CASE("call thread: every call of every vCPU is answered, watched or woken") {
  Source source;
  auto thread = CallThread::create(source);
  REQUIRE(thread);
  REQUIRE((*thread)->start("the test", {}));
  std::vector<std::jthread> guests;
  std::atomic<unsigned> wrong{0};
  for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
    guests.emplace_back([&, vcpu] {
      for (std::uint64_t number = 0; number < 2000; ++number) {
        wrong += ask(source, **thread, vcpu, number) == number + 1 ? 0U : 1U;
        if (number % 100 == 0) { // long enough for the thread to sleep
          std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
      }
    });
  }
  guests.clear();
  CHECK(wrong == 0);
}

TEST_CASE("call thread: events wake it, and are taken while it watches") {
  Source source;
  auto thread = CallThread::create(source);
  REQUIRE(thread);
  REQUIRE((*thread)->start("the test", {}));
  for (std::uint64_t count = 1; count <= 200; ++count) {
    source.happen();
    source.wait_for(count);
    if (count % 2 == 0) {
      CHECK(ask(source, **thread, 0, count) == count + 1);
    }
  }
}

TEST_CASE("call thread: its end lets go whoever waits for an answer") {
  Source source;
  auto thread = CallThread::create(source);
  REQUIRE(thread); // never started: nobody answers
  std::jthread waits([&] { (*thread)->serve(); });
  (*thread)->stop();
  waits.join();
  (*thread)->serve(); // nor does anybody wait afterwards
}
