// SPDX-License-Identifier: MIT
// A guest that does anything to the ABI, on every vCPU at once: bytes from --arg bytes=HEX, then
// random ones from the seed, choose operations on rings, descriptors, doorbells, the pages shared
// with the host and hypercalls. --arg ops=N ends it. Never answered calls and content that is lost
// do not matter to it: it keeps nothing in the memory that its hints give away.
#include <atomic>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "shared/boot_info.hpp"
#include "shared/guest_status.hpp"
#include "shared/hypercall.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"

namespace {

class Source {
 public:
  Source(std::string_view hex, std::uint64_t seed) : hex_(hex), random_(seed) {}

  std::uint8_t byte() {
    if (hex_.size() < 2) {
      return static_cast<std::uint8_t>(random_.next() >> 32);
    }
    const auto value = static_cast<std::uint8_t>(digit(hex_[0]) << 4 | digit(hex_[1]));
    hex_.remove_prefix(2);
    return value;
  }
  std::uint64_t word() {
    std::uint64_t value = 0;
    for (unsigned index = 0; index < sizeof value; ++index) {
      value = value << 8 | byte();
    }
    return value;
  }
  std::uint64_t below(std::uint64_t limit) { return word() % limit; }
  bool once_in(std::uint64_t count) { return below(count) == 0; }

 private:
  static unsigned digit(char character) {
    return static_cast<unsigned>(character <= '9' ? character - '0' : character - 'a' + 10) & 15U;
  }
  std::string_view hex_;
  guest::Random random_;
};

template <typename T> void put(T& place, std::uint64_t value) {
  std::atomic_ref(place).store(static_cast<T>(value), std::memory_order_relaxed);
}

class Fuzzer {
 public:
  Fuzzer(guest::Env& env, Source source) : env_(env), source_(source) {}

  void step() {
    switch (source_.below(16)) {
    case 0:
      put(channel().rings.submit_tail, index());
      break;
    case 1:
      put(channel().rings.complete_head, index());
      break;
    case 2:
      put(channel().rings.want_interrupt, source_.byte() & 1U);
      break;
    case 3: // what the host writes
      put(channel().rings.no_doorbell, source_.byte() & 1U);
      put(channel().rings.submit_head, index());
      put(channel().rings.complete_tail, index());
      break;
    case 4:
      write_submission(channel().rings.submissions[source_.below(abi::ring_entries)]);
      break;
    case 5:
      ring(source_.once_in(8) ? source_.word() : source_.below(EBB_MAX_VCPUS));
      break;
    case 6:
      call(abi::Hypercall::console_write, address(), source_.below(100'000));
      break;
    case 7:
      write_status();
      break;
    case 8:
      any_call();
      break;
    case 9:
      *guest::arch::pointer_to<volatile std::uint64_t>(managed_page()) = source_.word();
      break;
    default:
      submit();
    }
  }

 private:
  // Any of those that there are: others are not mapped.
  abi::Channel& channel() {
    return *guest::arch::pointer_to<abi::Channel>(
        {EBB_CHANNEL_GPA + source_.below(env_.vcpus()) * EBB_CHANNEL_BYTES});
  }
  std::uint64_t index() { return source_.once_in(2) ? source_.word() : source_.below(32); }

  // Anywhere, or near the edges of what the host looks at.
  std::uint64_t address() {
    switch (source_.below(4)) {
    case 0:
      return source_.word();
    case 1:
      return env_.ram_bytes() - 4096 + source_.below(8192);
    default:
      return source_.below(env_.ram_bytes());
    }
  }
  abi::Gpa managed_page() {
    const std::uint64_t low = env_.ram_bytes() / 2; // above everything that this image lives in
    return {abi::align_down(low + source_.below(env_.ram_bytes() - low), abi::page_bytes)};
  }

  void write_submission(abi::SubmissionEntry& entry) {
    put(entry.batch_id, source_.word());
    put(entry.page, source_.once_in(4) ? source_.word() : source_.below(abi::ring_entries));
    put(entry.range_count,
        source_.once_in(4) ? source_.word() : source_.below(abi::max_batch_ranges + 1));
  }

  abi::RangeDescriptor descriptor() {
    if (source_.once_in(4)) {
      return {source_.word()};
    }
    const abi::Order order{static_cast<std::uint8_t>(source_.below(abi::max_order + 2))};
    const std::uint64_t pfn =
        source_.once_in(4) ? address() >> abi::page_shift
                           : abi::align_down(abi::to_pfn(managed_page()).value, order.frames());
    return abi::RangeDescriptor::make(
        {pfn}, order, source_.once_in(4) ? abi::RangeKind::span : abi::RangeKind::hint);
  }

  void submit() {
    abi::Channel& to = channel();
    const std::uint64_t page = source_.below(abi::ring_entries);
    const std::uint64_t count = 1 + source_.below(source_.once_in(8) ? abi::max_batch_ranges : 16);
    for (std::uint64_t at = 0; at < count; ++at) {
      put(to.pages[page].ranges[at].bits, descriptor().bits);
    }
    const std::uint32_t tail = std::atomic_ref(to.rings.submit_tail).load();
    abi::SubmissionEntry& entry = to.rings.submissions[tail % abi::ring_entries];
    put(entry.batch_id, source_.word());
    put(entry.page, page);
    put(entry.range_count, count);
    std::atomic_ref(to.rings.submit_tail).store(tail + 1);
    ring(source_.below(env_.vcpus()));
    put(to.pages[page].ranges[source_.below(count)].bits, source_.word()); // while it is read
  }

  void ring(std::uint64_t channel_number) {
    guest::arch::out32(EBB_PORT_DOORBELL, static_cast<std::uint32_t>(channel_number));
  }

  void write_status() {
    auto* const words = guest::arch::pointer_to<std::uint64_t>({EBB_STATUS_GPA});
    put(words[source_.below(abi::page_bytes / sizeof *words)], source_.word());
  }

  // By hand: the runtime would believe the answers.
  void call(abi::Hypercall number, std::uint64_t arg0, std::uint64_t arg1) {
    abi::VcpuPage& page = guest::arch::vcpu_page();
    page.number = static_cast<std::uint64_t>(number);
    page.args[0] = arg0;
    page.args[1] = arg1;
    guest::arch::out32(EBB_PORT_HYPERCALL, page.vcpu);
  }

  void any_call() {
    std::uint8_t* const payload = guest::arch::vcpu_page().payload;
    for (unsigned at = 0; at < sizeof(abi::GuestHello); ++at) {
      payload[at] = source_.byte();
    }
    const auto number =
        static_cast<abi::Hypercall>(source_.once_in(8) ? source_.word() : source_.below(12));
    switch (number) {
    case abi::Hypercall::exit:
    case abi::Hypercall::panic:
    case abi::Hypercall::workload_end:
      if (source_.once_in(1000)) { // rarely: ends the run, or takes two seconds
        call(number, source_.word(), source_.word());
      }
      break;
    case abi::Hypercall::wait:
      call(number, source_.below(100'000), 0);
      break;
    default:
      call(number, source_.once_in(2) ? source_.word() : address(), source_.word());
    }
  }

  guest::Env& env_;
  Source source_;
};

int run(guest::Env& env) {
  const std::uint64_t operations = env.arg_number("ops", 3000);
  const std::string_view bytes = env.arg("bytes", "");
  env.run_on_all([&](unsigned vcpu) {
    Fuzzer fuzzer(env, Source(vcpu == 0 ? bytes : std::string_view{}, env.seed() * 31 + vcpu));
    for (std::uint64_t done = 0; done < operations; ++done) {
      fuzzer.step();
    }
  });
  return 0;
}

} // namespace

EBB_WORKLOAD(test, "do anything to the ABI", run,
             guest::Parameter::number("ops", 0, std::uint64_t{1} << 48),
             guest::Parameter::text("bytes"));
