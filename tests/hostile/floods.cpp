// SPDX-License-Identifier: MIT
// Attacks by sheer number, and hypercalls with arguments that make no sense.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "guest/arch/cpu.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/workload.hpp"
#include "shared/event_ring.hpp"
#include "shared/guest_status.hpp"
#include "shared/layout.h"
#include "tests/hostile/beside.hpp"
#include "tests/hostile/wire.hpp"
#include "tests/hostile/witness.hpp"

namespace {

using abi::RangeDescriptor;
using abi::RangeKind;
using hostile::Wire;
using hostile::Witness;

// A hypercall of any number, with any arguments.
abi::Status call(std::uint64_t number, std::uint64_t arg0 = 0, std::uint64_t arg1 = 0) {
  abi::VcpuPage& page = guest::arch::vcpu_page();
  page.number = number;
  page.args[0] = arg0;
  page.args[1] = arg1;
  guest::arch::out32(EBB_PORT_HYPERCALL, page.vcpu);
  return static_cast<abi::Status>(page.result);
}

abi::Status call(abi::Hypercall number, std::uint64_t arg0 = 0, std::uint64_t arg1 = 0) {
  return call(static_cast<std::uint64_t>(number), arg0, arg1);
}

// Doorbells that announce nothing, from all vCPUs on all channels.
int flood_doorbells(guest::Env& env) {
  Witness witness(env);
  const std::uint64_t count = env.arg_number("count", 3000);
  const auto ring = [&env](std::uint64_t turn) {
    guest::arch::out32(EBB_PORT_DOORBELL, static_cast<std::uint32_t>(turn % env.vcpus()));
  };
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        for (std::uint64_t turn = 0; turn < count; ++turn) {
          ring(turn);
        }
        calm.impose();
        Wire wire(env, 0);
        witness.testify(wire);
      },
      ring);
}

// Full batches of nothing but refusals, without waiting for an answer.
int flood_batches(guest::Env& env) {
  hostile::attack_alone(env, [&] {
    Witness witness(env);
    Wire wire(env, 0);
    for (unsigned index = 0; index < abi::max_batch_ranges; ++index) {
      wire.describe(0, index, RangeDescriptor::make({index}, {0}, RangeKind::hint));
    }
    const std::uint64_t count = env.arg_number("count", 2000);
    for (std::uint64_t batch = 0; batch < count; ++batch) {
      wire.submit({.batch_id = batch, .page = 0, .range_count = abi::max_batch_ranges});
      std::atomic_ref(wire.rings().complete_head)
          .store(std::atomic_ref(wire.rings().complete_tail).load(std::memory_order_acquire),
                 std::memory_order_release);
    }
    Wire other(env, 1);
    witness.testify(other);
  });
}

// Exits for nothing.
int flood_exits(guest::Env& env) {
  Witness witness(env);
  const auto exits = [&witness](std::uint64_t count) {
    for (std::uint64_t number = 0; number < count; ++number) {
      const std::uint64_t unknown = number % 2 == 0 ? ~number : 1000 + number;
      witness.expect(call(unknown) == abi::Status::unknown, "an unknown hypercall is known");
    }
  };
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        exits(2000);
        calm.impose();
        Wire wire(env, 0);
        witness.testify(wire);
      },
      [&](unsigned) { exits(10); });
}

// MiB of everything that is bad for a terminal; without end with mib=0.
int flood_console(guest::Env& env) {
  Witness witness(env);
  constexpr abi::Order order{4};
  constexpr std::uint64_t bytes = abi::console_write_bytes;
  static_assert(order.bytes() == bytes);
  auto* const text = static_cast<char*>(env.allocate_pages(order));
  guest::Random random(env.seed());
  for (std::uint64_t at = 0; at < bytes; ++at) {
    text[at] = static_cast<char>(random.next());
  }
  constexpr std::string_view harm =
      "\x9b" // the second half of a control whose first half ends the text
      "31mflood \x1b]0;title\x07\x1b[2J\xc2\x9b"
      "31m";
  std::memcpy(text, harm.data(), harm.size());
  text[bytes - 1] = '\xc2';
  const std::uint64_t mib = env.arg_number("mib", 4);
  const std::uint64_t writes = (mib << 20) / bytes;
  for (std::uint64_t write = 0; mib == 0 || write < writes; ++write) {
    guest::hypercall::console_write({text, bytes});
  }
  guest::print("\nend of flood\n");
  Wire wire(env, 0);
  witness.testify(wire);
}

// Arguments that no honest guest passes.
int bad_hypercalls(guest::Env& env) {
  Witness witness(env);
  const std::uint64_t end = env.ram_bytes();
  const std::uint64_t own = abi::to_gpa(witness.prey()).value;
  struct Text {
    std::uint64_t gpa;
    std::uint64_t bytes;
  };
  for (const Text& text :
       {Text{end, 1}, Text{end - 1, 2}, Text{UINT64_MAX, 1}, Text{UINT64_MAX, UINT64_MAX},
        Text{own, UINT64_MAX}, Text{own, abi::console_write_bytes + 1}, Text{own, 0},
        Text{std::uint64_t{1} << 63, 8}, Text{own, UINT64_MAX - own + 1}}) {
    witness.expect(call(abi::Hypercall::console_write, text.gpa, text.bytes) ==
                       abi::Status::bad_argument,
                   "text from outside of RAM was accepted");
  }
  for (const std::uint64_t start : {std::uint64_t{0}, std::uint64_t{1}, end, UINT64_MAX}) {
    witness.expect(call(abi::Hypercall::plug, start) == abi::Status::bad_argument,
                   "memory that there is not was plugged");
  }
  // With --prefault the host looks at the arguments; else there is no such call.
  const auto refused =
      env.arg_number("prefault", 0) != 0 ? abi::Status::bad_argument : abi::Status::unknown;
  for (const Text& range :
       {Text{own, 0}, Text{own, 1}, Text{own + 8, abi::page_bytes}, Text{end, abi::page_bytes},
        Text{end - abi::page_bytes, 2 * abi::page_bytes}, Text{own, UINT64_MAX},
        Text{own, abi::prefault_bytes + abi::page_bytes}, Text{UINT64_MAX - 0xfff, 0x1000},
        Text{0 - abi::page_bytes, 2 * abi::page_bytes}}) {
    witness.expect(call(abi::Hypercall::prefault, range.gpa, range.bytes) == refused,
                   "memory that there is not was prefaulted");
  }
  if (env.arg_number("unplugged", 0) != 0) { // RAM has a part that nobody has asked for yet
    witness.expect(call(abi::Hypercall::prefault, end - abi::page_bytes, abi::page_bytes) ==
                       abi::Status::bad_argument,
                   "memory was prefaulted before it was plugged");
  }
  witness.expect(call(abi::Hypercall::negotiate) == abi::Status::bad_argument, "a second hello");
  static_cast<void>(call(abi::Hypercall::start_vcpus)); // there is none to start
  witness.expect(call(abi::Hypercall::start_vcpus) == abi::Status::bad_argument,
                 "vCPUs started twice");
  Wire wire(env, 0);
  witness.testify(wire);
}

// Begin and end of the workload, told by all vCPUs at once and more than once.
int flood_marks(guest::Env& env) {
  Witness witness(env);
  std::atomic<unsigned> accepted{0};
  const auto mark = [&accepted](std::uint64_t since_ns) {
    // The kernel has told of the beginning before.
    for (const abi::Status status :
         {call(abi::Hypercall::workload_begin), call(abi::Hypercall::workload_end, since_ns)}) {
      accepted.fetch_add(status == abi::Status::ok ? 1 : 0, std::memory_order_relaxed);
    }
  };
  hostile::attack_beside(
      env,
      [&](hostile::Calm& calm) {
        for (std::uint64_t turn = 0; turn < 200; ++turn) {
          mark(turn);
        }
        calm.impose();
        witness.expect(accepted.load() <= 1, "the workload ended more than once");
        Wire wire(env, 0);
        witness.testify(wire);
      },
      [&](unsigned) { mark(UINT64_MAX - 7); });
}

// One vCPU waits without end, the other one ends the guest.
int endless_wait(guest::Env& env) {
  Witness witness(env);
  hostile::attack_beside(
      env,
      [&](hostile::Calm&) {
        for (unsigned turn = 0; turn < 100; ++turn) {
          static_cast<void>(call(abi::Hypercall::wait, turn));
        }
        Wire wire(env, 0);
        witness.testify(wire);
      },
      [](unsigned) { static_cast<void>(call(abi::Hypercall::wait, UINT64_MAX)); });
}

// What the host shows of the guest: all ones, then noise, while it is being sampled.
int lying_status(guest::Env& env) {
  Witness witness(env);
  auto* const words = guest::arch::pointer_to<std::uint64_t>({EBB_STATUS_GPA});
  constexpr std::size_t count = abi::page_bytes / sizeof(std::uint64_t);
  guest::Random random(env.seed());
  const std::uint64_t end = env.now_ns() + 100'000'000;
  for (bool ones = true; env.now_ns() < end; ones = false) {
    for (std::size_t index = 0; index < count; ++index) {
      std::atomic_ref(words[index])
          .store(ones ? ~std::uint64_t{0} : random.next(), std::memory_order_relaxed);
    }
  }
  Wire wire(env, 0);
  witness.testify(wire);
}

// The event ring: noise, and a tail that jumps. Needs --trace.
int lying_events(guest::Env& env) {
  Witness witness(env);
  Wire wire(env, 0);
  auto& ring = *guest::arch::pointer_to<abi::EventRing>({EBB_EVENT_RING_GPA});
  auto* const words = guest::arch::pointer_to<std::uint64_t>({EBB_EVENT_RING_GPA});
  guest::Random random(env.seed());
  for (unsigned turn = 0; turn < 40; ++turn) {
    for (std::size_t index = 0; index < sizeof ring / sizeof(std::uint64_t); ++index) {
      std::atomic_ref(words[index]).store(random.next(), std::memory_order_relaxed);
    }
    for (abi::GuestEvent& event : ring.events) {
      // Plausible often enough to get past the first look.
      std::atomic_ref(event.event)
          .store(static_cast<abi::TraceEvent>(random.below(32)), std::memory_order_relaxed);
      std::atomic_ref(event.channel)
          .store(static_cast<std::uint8_t>(random.below(18)), std::memory_order_relaxed);
      std::atomic_ref(event.order)
          .store(static_cast<std::uint8_t>(random.below(12)), std::memory_order_relaxed);
    }
    const std::uint64_t head = std::atomic_ref(ring.head).load(std::memory_order_acquire);
    const std::uint64_t ahead = turn % 4 == 0 ? random.next() : random.below(8192);
    std::atomic_ref(ring.tail).store(head + ahead, std::memory_order_release);
    const auto range = RangeDescriptor::make(witness.prey(), {0}, RangeKind::hint);
    static_cast<void>(wire.hint(range));
  }
  witness.testify(wire);
}

} // namespace

EBB_WORKLOAD(flood_doorbells, "count= doorbells (3000) that announce nothing", flood_doorbells,
             guest::Parameter::number("count", 0, 1 << 30));
EBB_WORKLOAD(flood_batches, "count= batches (2000) of bad ranges", flood_batches,
             guest::Parameter::number("count", 0, 1 << 30));
EBB_WORKLOAD(flood_exits, "unknown hypercalls", flood_exits);
EBB_WORKLOAD(flood_console, "mib= (4) of console output; 0: endless", flood_console,
             guest::Parameter::number("mib", 0, 1 << 30));
EBB_WORKLOAD(flood_marks, "workload_begin and _end by all vCPUs", flood_marks);
EBB_WORKLOAD(bad_hypercalls, "arguments that make no sense", bad_hypercalls,
             guest::Parameter::number("prefault", 0, 1),
             guest::Parameter::number("unplugged", 0, 1));
EBB_WORKLOAD(endless_wait, "a vCPU waits without end", endless_wait);
EBB_WORKLOAD(lying_status, "noise in the status page", lying_status);
EBB_WORKLOAD(lying_events, "noise in the event ring", lying_events);
