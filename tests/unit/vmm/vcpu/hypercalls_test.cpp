// SPDX-License-Identifier: MIT
// The guest's way in: what a vCPU page says is carried out, refused or not understood.
#include "vmm/vcpu/hypercalls.hpp"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "shared/guest_status.hpp"
#include "shared/layout.h"
#include "shared/report_channel.hpp"
#include "vmm/base/units.hpp"
#include "vmm/memory/resident_meter.hpp"

using namespace vmm;
using abi::Feature;
using abi::Hypercall;
using abi::Status;

namespace {

constexpr std::uint64_t ram_bytes = 16 * mib;
constexpr std::uint64_t free_start = 8 * mib;
constexpr std::uint64_t all_features = abi::features_1_0 | abi::feature_smp |
                                       abi::feature_interrupt | abi::feature_prefault |
                                       abi::feature_retune | abi::feature_vmcall;

// A guest of one page a vCPU, and a host that notes what it is asked to do.
struct Guest final : HypercallListener {
  explicit Guest(std::uint64_t offered = all_features)
      : memory(*GuestMemory::create(ram_bytes, Backing::small_pages)), end(*GuestEnd::create()),
        console(memory, [this](std::string_view text) { written += text; }),
        slots(
            [this](std::uint32_t, abi::Gpa start, std::span<const std::byte>, Vm::Access) {
              mapped.push_back(start.value);
              return map_result;
            },
            memory),
        calls({.memory = memory,
               .slots = slots,
               .console = console,
               .end = *end,
               .symbols = symbols,
               .listener = *this,
               .features_offered = offered,
               .free_start = {free_start}}) {}

  void on_call(unsigned vcpu, Hypercall call, std::uint64_t argument) override {
    seen.push_back({vcpu, call, argument});
  }
  void on_hello(const abi::GuestHello& hello) override {
    hellos.push_back(hello);
    CHECK(calls.accepted(abi::feature_report) ==
          ((hello.features_accepted & abi::feature_report) != 0));
  }
  void on_start_vcpus() override { ++starts; }
  void on_workload_begin() override { ++begins; }
  void on_workload_end(std::uint64_t ns) override { ends.push_back(ns); }

  struct Seen {
    unsigned vcpu;
    Hypercall call;
    std::uint64_t argument;
  };

  [[nodiscard]] abi::VcpuPage& page(unsigned vcpu = 0) const {
    return *memory.object_at<abi::VcpuPage>({EBB_VCPU_PAGE_GPA + vcpu * abi::page_bytes});
  }
  Status call(Hypercall number, std::uint64_t first = 0, std::uint64_t second = 0,
              unsigned vcpu = 0) {
    page(vcpu).number = static_cast<std::uint64_t>(number);
    page(vcpu).args[0] = first;
    page(vcpu).args[1] = second;
    calls.dispatch(vcpu);
    return static_cast<Status>(page(vcpu).result);
  }
  static abi::GuestHello hello(std::uint64_t features) {
    abi::GuestHello hello;
    hello.version_major = abi::version_major;
    hello.version_minor = abi::version_minor;
    hello.struct_bytes = sizeof hello;
    hello.features_accepted = features;
    hello.channel_bytes = sizeof(abi::Channel);
    hello.status_bytes = sizeof(abi::GuestStatus);
    hello.managed_start_gpa = free_start;
    return hello;
  }
  Status negotiate(const abi::GuestHello& hello) {
    std::memcpy(page().payload, &hello, sizeof hello);
    return call(Hypercall::negotiate);
  }

  GuestMemory memory;
  std::unique_ptr<GuestEnd> end;
  std::string written;
  std::vector<std::uint64_t> mapped;
  Result<void> map_result{};
  Symbols symbols;
  std::vector<Seen> seen;
  std::vector<abi::GuestHello> hellos;
  unsigned starts = 0;
  unsigned begins = 0;
  std::vector<std::uint64_t> ends;
  Console console;
  MemorySlots slots;
  Hypercalls calls;
};

// Resident pages of guest RAM.
bool is_resident(const GuestMemory& memory, std::uint64_t bytes) {
  auto meter = ResidentMeter::create(memory, nullptr);
  REQUIRE(meter);
  const auto resident = meter->sample(0, Occasion::mark);
  REQUIRE(resident);
  return *resident >= bytes;
}

} // namespace

TEST_CASE("a call that does not exist is answered as unknown, and each is seen first") {
  Guest guest;
  CHECK(guest.call(static_cast<Hypercall>(0), 7, 0, 3) == Status::unknown);
  CHECK(guest.call(static_cast<Hypercall>(~std::uint64_t{0})) == Status::unknown);
  REQUIRE(guest.seen.size() == 2);
  CHECK(guest.seen[0].vcpu == 3);
  CHECK(guest.seen[0].call == static_cast<Hypercall>(0));
  CHECK(guest.seen[0].argument == 7);
}

TEST_CASE("a hello is accepted once, and then its features count") {
  Guest guest;
  CHECK_FALSE(guest.calls.accepted(abi::feature_report));
  CHECK(guest.negotiate(Guest::hello(abi::feature_report | abi::feature_plug)) == Status::ok);
  CHECK(guest.calls.accepted(abi::feature_report));
  CHECK(guest.calls.accepted(abi::feature_plug));
  CHECK_FALSE(guest.calls.accepted(abi::feature_interrupt));
  CHECK(guest.mapped.empty()); // it will ask
  CHECK(guest.negotiate(Guest::hello(all_features)) == Status::bad_argument);
  CHECK_FALSE(guest.calls.accepted(abi::feature_interrupt));
  REQUIRE(guest.hellos.size() == 1);
  CHECK(guest.hellos[0].managed_start_gpa == free_start);
}

TEST_CASE("a hello with one thing wrong changes nothing") {
  using Spoil = void (*)(abi::GuestHello&);
  for (const Spoil spoil : {
           Spoil{[](abi::GuestHello& hello) { ++hello.magic; }},
           Spoil{[](abi::GuestHello& hello) { ++hello.version_major; }},
           Spoil{[](abi::GuestHello& hello) { hello.struct_bytes = 8; }},
           Spoil{[](abi::GuestHello& hello) { hello.features_accepted |= abi::feature_async; }},
           Spoil{[](abi::GuestHello& hello) { hello.features_accepted |= std::uint64_t{1} << 63; }},
           Spoil{[](abi::GuestHello& hello) { --hello.channel_bytes; }},
           Spoil{[](abi::GuestHello& hello) { hello.status_bytes = 0; }},
           Spoil{[](abi::GuestHello& hello) { hello.status_bytes = abi::page_bytes + 1; }},
           Spoil{[](abi::GuestHello& hello) { ++hello.managed_start_gpa; }},
           Spoil{[](abi::GuestHello& hello) { hello.managed_start_gpa -= abi::page_bytes; }},
           Spoil{[](abi::GuestHello& hello) { hello.managed_start_gpa = 2 * ram_bytes; }},
       }) {
    Guest guest;
    abi::GuestHello hello = Guest::hello(all_features);
    spoil(hello);
    CHECK(guest.negotiate(hello) == Status::bad_argument);
    CHECK(guest.hellos.empty());
    CHECK_FALSE(guest.calls.accepted(abi::feature_report));
    CHECK(guest.negotiate(Guest::hello(all_features)) == Status::ok);
  }
}

TEST_CASE("a guest that cannot plug gets all its memory at the hello") {
  Guest guest;
  CHECK(guest.negotiate(Guest::hello(abi::feature_report)) == Status::ok);
  CHECK(guest.mapped == std::vector<std::uint64_t>{0});
  CHECK(guest.call(Hypercall::plug, 0) == Status::bad_argument);
}

TEST_CASE("a host that cannot map what a guest needs ends the run") {
  Guest guest;
  guest.map_result = environment_error("no slots left");
  CHECK(guest.negotiate(Guest::hello(abi::feature_report)) == Status::no_memory);
  CHECK(guest.end->ended());
  CHECK(guest.end->ending().kind == EndKind::host_failed);
  CHECK(guest.hellos.empty());
}

TEST_CASE("plugging goes on where it ended") {
  Guest guest;
  CHECK(guest.call(Hypercall::plug, 0) == Status::bad_argument); // before the hello
  CHECK(guest.negotiate(Guest::hello(abi::feature_plug)) == Status::ok);
  CHECK(guest.call(Hypercall::plug, abi::page_bytes) == Status::bad_argument);
  guest.map_result = environment_error("no slots left");
  CHECK(guest.call(Hypercall::plug, 0) == Status::no_memory);
  guest.map_result = {};
  CHECK(guest.call(Hypercall::plug, 0) == Status::ok);
  CHECK(guest.call(Hypercall::plug, ram_bytes) == Status::bad_argument); // that was all
}

// Offered is not enough: the guest has to have said that it uses it.
TEST_CASE("a call of a feature is carried out for a guest that accepted the feature") {
  const auto try_all = [](Guest& guest) {
    return std::vector{guest.call(Hypercall::plug, 0), guest.call(Hypercall::start_vcpus),
                       guest.call(Hypercall::prefault, 0, abi::page_bytes)};
  };
  constexpr std::uint64_t features = abi::feature_plug | abi::feature_smp | abi::feature_prefault;

  Guest never_offered(abi::feature_report);
  CHECK(try_all(never_offered) == std::vector(3, Status::unknown));
  CHECK(never_offered.negotiate(Guest::hello(abi::feature_report)) == Status::ok);
  CHECK(try_all(never_offered) == std::vector(3, Status::unknown));

  Guest never_accepted(abi::feature_report | features);
  CHECK(try_all(never_accepted) == std::vector(3, Status::bad_argument));
  CHECK(never_accepted.negotiate(Guest::hello(abi::feature_report)) == Status::ok);
  CHECK(try_all(never_accepted) == std::vector(3, Status::bad_argument));
  CHECK(never_accepted.starts == 0);
  CHECK(never_accepted.calls.prefaults() == 0);

  Guest guest(abi::feature_report | features);
  CHECK(guest.negotiate(Guest::hello(features)) == Status::ok);
  CHECK(try_all(guest) == std::vector(3, Status::ok));
  CHECK(guest.starts == 1);
}

TEST_CASE("the other vCPUs start once") {
  Guest guest;
  CHECK(guest.negotiate(Guest::hello(abi::feature_smp)) == Status::ok);
  CHECK(guest.call(Hypercall::start_vcpus) == Status::ok);
  CHECK(guest.call(Hypercall::start_vcpus, 0, 0, 1) == Status::bad_argument);
  CHECK(guest.starts == 1);
}

TEST_CASE("prefaulting has memory behind whole pages of plugged RAM, and nothing else") {
  Guest guest;
  CHECK(guest.negotiate(Guest::hello(abi::feature_plug | abi::feature_prefault)) == Status::ok);
  const auto prefault = [&](std::uint64_t start, std::uint64_t bytes) {
    return guest.call(Hypercall::prefault, start, bytes);
  };
  CHECK(prefault(free_start, mib) == Status::bad_argument); // not plugged
  CHECK(guest.call(Hypercall::plug, 0) == Status::ok);
  CHECK(prefault(free_start, 0) == Status::bad_argument);
  CHECK(prefault(free_start + 1, abi::page_bytes) == Status::bad_argument);
  CHECK(prefault(free_start, abi::page_bytes - 1) == Status::bad_argument);
  CHECK(prefault(free_start, abi::prefault_bytes + abi::page_bytes) == Status::bad_argument);
  CHECK(prefault(ram_bytes - abi::page_bytes, 2 * abi::page_bytes) == Status::bad_argument);
  CHECK(prefault(~(abi::page_bytes - 1), 2 * abi::page_bytes) == Status::bad_argument);
  CHECK(guest.calls.prefaults() == 0);
  CHECK_FALSE(is_resident(guest.memory, mib));
  CHECK(prefault(free_start, mib) == Status::ok);
  CHECK(is_resident(guest.memory, mib));
  CHECK(guest.calls.prefaults() == 1);
  CHECK(guest.calls.prefaulted_bytes() == mib);
}

TEST_CASE("text for the console is copied out of RAM, a limited piece at a time") {
  Guest guest;
  std::memcpy(guest.memory.base() + free_start, "hello\n", 6);
  CHECK(guest.call(Hypercall::console_write, free_start, 6) == Status::ok);
  CHECK(guest.written == "hello\n");
  CHECK(guest.call(Hypercall::console_write, ram_bytes - 3, 6) == Status::bad_argument);
  CHECK(guest.call(Hypercall::console_write, free_start, abi::console_write_bytes + 1) ==
        Status::bad_argument);
  CHECK(guest.call(Hypercall::console_write, ~std::uint64_t{0}, 2) == Status::bad_argument);
  CHECK(guest.written == "hello\n");
}

TEST_CASE("a workload begins once and ends once, in this order") {
  Guest guest;
  CHECK(guest.call(Hypercall::workload_end, 1) == Status::bad_argument);
  CHECK(guest.call(Hypercall::workload_begin) == Status::ok);
  CHECK(guest.call(Hypercall::workload_begin) == Status::bad_argument);
  CHECK(guest.call(Hypercall::workload_end, 17) == Status::ok);
  CHECK(guest.call(Hypercall::workload_end, 18) == Status::bad_argument);
  CHECK(guest.begins == 1);
  CHECK(guest.ends == std::vector<std::uint64_t>{17});
}

TEST_CASE("an exit ends the run with the guest's status") {
  Guest guest;
  CHECK(guest.call(Hypercall::exit, 42) == Status::ok);
  REQUIRE(guest.end->ended());
  CHECK(guest.end->ending().kind == EndKind::exited);
  CHECK(guest.end->ending().process_status() == 42);
}

TEST_CASE("a panic ends the run with what the guest says of it") {
  Guest guest;
  abi::PanicRecord record{};
  record.vector = abi::panic_by_software;
  std::memcpy(record.message, "the heap is damaged", 20);
  std::memcpy(guest.page(1).payload, &record, sizeof record);
  guest.page(1).number = static_cast<std::uint64_t>(Hypercall::panic);
  CHECK(guest.calls.is_panic(1));
  CHECK_FALSE(guest.calls.is_panic(0));
  guest.calls.dispatch(1);
  REQUIRE(guest.end->ended());
  CHECK(guest.end->ending().kind == EndKind::panicked);
  CHECK(guest.end->ending().text.find("the heap is damaged") != std::string::npos);
}

// Never early, and never beyond the guest's end, however long the guest asks for.
TEST_CASE("a wait ends with the run") {
  Guest guest;
  CHECK(guest.call(Hypercall::wait, 0) == Status::ok);
  guest.end->end({EndKind::interrupted, 2, {}});
  CHECK(guest.call(Hypercall::wait, ~std::uint64_t{0}) == Status::ok);
}
