// SPDX-License-Identifier: MIT
// What each reporting policy would be worth, in recorded time: the guest's whole allocator replays
// a page trace against a synchronous host, with a ledger at fixed unit costs. No guest, no clock:
// the same numbers on every machine, however busy.
//
// Usage: policy_sim [--auto] [--stretch FACTOR] TRACE...
// Prints a table per trace and, last, order=auto against the best and worst fixed setting; with
// --auto the last alone. --stretch: all gaps of the traces are that many times as long, which makes
// other programs of them.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "guest/mm/buddy/buddy.hpp"
#include "guest/mm/page_allocator.hpp"
#include "tests/support/fake_report_host.hpp"
#include "tests/support/page_trace.hpp"
#include "tests/support/still_platform.hpp"
#include "vmm/boot/recording.hpp"
#include "vmm/measure/auto_policy.hpp"
#include "vmm/measure/ledger.hpp"

namespace {

using namespace guest::mm;
using test_support::PageTrace;

constexpr abi::Pfn ram_first{512};
constexpr abi::Pfn ram_end{512 + (std::uint64_t{2} << 30 >> abi::page_shift)};
constexpr double call_ns = 1'500; // discarding a range
constexpr std::uint64_t idle_gap_us = 50;

double mib_s(double frame_us) {
  return frame_us / 256 / 1e6;
}

void must(bool condition) {
  if (!condition) {
    fmt::print(stderr, "policy_sim: an operation of the replay failed\n");
    std::exit(1);
  }
}

// The guest, its host and the books.
class Simulation final : public test_support::StillPlatform {
 public:
  Simulation(const abi::ReportPolicy& policy, const vmm::UnitCosts& units, double stretch)
      : stretch_(stretch), units_(units), policy_(policy), channels_(1), host_(channels_[0]),
        metadata_(Buddy::metadata_bytes(ram_first, ram_end)), frames_(ram_end.value),
        pages_(std::make_unique<PageAllocator>(
            static_cast<PagePlatform&>(*this),
            PageAllocatorConfig{
                .first = ram_first, .end = ram_end, .plugged_end = ram_end, .policy = policy},
            metadata_, channels_.pointers(), status_)) {}

  void replay(const PageTrace& trace) {
    std::vector<abi::Pfn> where(trace.blocks);
    for (const test_support::PageTraceEvent event : trace.events) {
      elapse(static_cast<std::uint64_t>(static_cast<double>(event.gap_us()) * stretch_));
      const abi::Order order{static_cast<std::uint8_t>(event.order())};
      if (event.is_free()) {
        live_frames_ -= order.frames();
        must(pages_->free(0, where[event.block()], order) == FreeResult::ok);
      } else {
        const Allocation got = pages_->allocate(0, order);
        must(got.ok());
        where[event.block()] = got.pfn;
        live_frames_ += order.frames();
        touch(got.pfn, order);
      }
    }
  }

  // As a run's ledger: what is away now counts up to now.
  [[nodiscard]] vmm::Ledger ledger() const {
    vmm::LedgerInput input;
    input.uses = uses();
    for (const vmm::OrderUse& use : input.uses) {
      input.saved_mib_s += use.away_mib_s;
      input.discard_ns += use.ranges * static_cast<std::uint64_t>(call_ns);
    }
    input.doorbells = doorbells_;
    input.units = units_;
    return vmm::Ledger::make(input);
  }
  [[nodiscard]] double ratio() const { return resident_frame_us_ / live_frame_us_; }
  [[nodiscard]] const abi::GuestStatus& status() const { return status_; }

 private:
  struct Frame {
    std::uint64_t away_since_ns = 0;
    std::uint8_t order = 0;
    bool away = false;
    bool resident = false;
  };
  struct Books {
    std::uint64_t ranges = 0;
    std::uint64_t discarded_frames = 0;
    std::uint64_t reused_frames = 0;
    double reused_frame_us = 0;
    std::uint64_t away_frames = 0;
    double away_since_us = 0; // sum
  };

  // An idle guest sleeps until the next thing is due.
  void elapse(std::uint64_t us) {
    const std::uint64_t end_ns = now_ns_ + us * 1000;
    if (us >= idle_gap_us) {
      for (std::uint64_t due_ns = pages_->idle(0); due_ns < end_ns && now_ns_ < end_ns;
           due_ns = pages_->idle(0)) {
        pass(std::min(std::max(due_ns, now_ns_ + 1000), end_ns));
      }
    }
    pass(end_ns);
  }
  void pass(std::uint64_t end_ns) {
    const double us = static_cast<double>(end_ns - now_ns_) / 1e3;
    now_ns_ = end_ns;
    resident_frame_us_ += static_cast<double>(resident_frames_) * us;
    live_frame_us_ += static_cast<double>(live_frames_) * us;
  }

  void touch(abi::Pfn pfn, abi::Order order) {
    for (std::uint64_t at = pfn.value; at < pfn.value + order.frames(); ++at) {
      Frame& frame = frames_[at];
      resident_frames_ += frame.resident ? 0 : 1;
      frame.resident = true;
      if (frame.away) {
        frame.away = false;
        Books& books = books_[frame.order];
        ++books.reused_frames;
        books.reused_frame_us += static_cast<double>(now_ns_ - frame.away_since_ns) / 1e3;
        --books.away_frames;
        books.away_since_us -= static_cast<double>(frame.away_since_ns) / 1e3;
      }
    }
  }

  void discard(abi::Pfn pfn, abi::Order order) {
    Books& books = books_[order.value];
    ++books.ranges;
    for (std::uint64_t at = pfn.value; at < pfn.value + order.frames(); ++at) {
      Frame& frame = frames_[at];
      resident_frames_ -= frame.resident ? 1 : 0;
      frame = {.away_since_ns = now_ns_, .order = order.value, .away = true, .resident = false};
      ++books.discarded_frames;
      ++books.away_frames;
      books.away_since_us += static_cast<double>(now_ns_) / 1e3;
    }
  }

  [[nodiscard]] vmm::OrderUses uses() const {
    vmm::OrderUses uses;
    for (std::size_t order = 0; order < uses.size(); ++order) {
      const Books& books = books_[order];
      const double away_us =
          static_cast<double>(books.away_frames) * static_cast<double>(now_ns_) / 1e3 -
          books.away_since_us;
      uses[order] = {books.ranges, books.discarded_frames * abi::page_bytes,
                     books.reused_frames * abi::page_bytes, mib_s(books.reused_frame_us + away_us)};
    }
    return uses;
  }

  void ring_doorbell(unsigned) override {
    ++doorbells_;
    host_.serve([this](abi::RangeDescriptor range) {
      if (range.kind() == abi::RangeKind::hint) {
        discard(range.pfn(), range.order());
      }
      return abi::Outcome::discarded;
    });
  }
  std::uint64_t now_ns() override { return now_ns_; }

  double stretch_;
  vmm::UnitCosts units_;
  abi::ReportPolicy policy_;
  test_support::ChannelSet channels_;
  test_support::FakeReportHost host_;
  std::vector<std::byte> metadata_;
  std::vector<Frame> frames_;
  std::array<Books, abi::order_count> books_;
  abi::GuestStatus status_;
  std::uint64_t now_ns_ = 1;
  std::uint64_t doorbells_ = 0;
  std::uint64_t live_frames_ = 0;
  std::uint64_t resident_frames_ = 0;
  double live_frame_us_ = 0;
  double resident_frame_us_ = 0;
  std::unique_ptr<PageAllocator> pages_;
};

struct Machine {
  const char* name;
  vmm::UnitCosts units;
};

struct Fixed {
  double best = 0; // without reporting
  double worst = 0;
  std::string best_name = "off";
};

constexpr std::array<std::uint32_t, 5> batches{1, 16, 64, 256, 512};

Fixed sweep(const PageTrace& trace, const Machine& machine, double stretch) {
  Fixed fixed;
  fmt::print("{:>6}", "order");
  for (const std::uint32_t batch : batches) {
    fmt::print("{:>18}", fmt::format("batch {}", batch));
  }
  fmt::print("\n");
  for (std::uint32_t order = 0; order < abi::order_count; ++order) {
    fmt::print("{:>6}", order);
    for (const std::uint32_t batch : batches) {
      Simulation simulation({.order = order, .batch = batch}, machine.units, stretch);
      simulation.replay(trace);
      const double net = simulation.ledger().net_mib_s.value_or(0);
      fmt::print("{:>18}", fmt::format("{:.0f} ({:.3f})", net, simulation.ratio()));
      if (net > fixed.best) {
        fixed.best = net;
        fixed.best_name = fmt::format("order {}, batch {}", order, batch);
      }
      fixed.worst = std::min(fixed.worst, net);
    }
    fmt::print("\n");
  }
  for (const std::uint64_t half_life_ms : {8U, 16U, 32U, 64U, 128U}) {
    fmt::print("  decay, half-life {:>3} ms:", half_life_ms);
    for (const std::uint32_t order : {0U, 1U, 2U, 4U}) {
      Simulation simulation({.order = order,
                             .batch = 64,
                             .strategy = abi::ReportStrategy::decay,
                             .delay_ns = half_life_ms * 1'000'000},
                            machine.units, stretch);
      simulation.replay(trace);
      fmt::print("   order {}: {:.0f} ({:.3f})", order, simulation.ledger().net_mib_s.value_or(0),
                 simulation.ratio());
    }
    fmt::print("\n");
  }
  return fixed;
}

std::string run_auto(const PageTrace& trace, const Machine& machine, double stretch, double* net) {
  Simulation simulation(vmm::auto_policy(machine.units, vmm::default_memory_price_ns, {}),
                        machine.units, stretch);
  simulation.replay(trace);
  *net = simulation.ledger().net_mib_s.value_or(0);
  const std::uint64_t half_life = simulation.status().half_life_ns;
  return fmt::format("auto {:.0f} (ratio {:.3f}, ends with order {}, {})", *net, simulation.ratio(),
                     simulation.status().report_order,
                     half_life == abi::half_life_never
                         ? "nothing let go"
                         : fmt::format("half-life {} ms", half_life / 1'000'000));
}

// User error for a file that is no page trace.
vmm::Result<PageTrace> read_trace(const std::string& path) {
  auto recording = vmm::Recording::load(path);
  if (!recording) {
    return std::unexpected(recording.error());
  }
  PageTrace trace{.peak_pages = static_cast<std::uint32_t>(recording->summary().peak_pages),
                  .blocks = static_cast<std::uint32_t>(recording->summary().blocks),
                  .events = {}};
  trace.events.resize(recording->summary().events);
  std::memcpy(trace.events.data(), recording->pages().subspan(sizeof(abi::PageTraceHeader)).data(),
              trace.events.size() * sizeof(test_support::PageTraceEvent));
  return trace;
}

} // namespace

int main(int argc, char** argv) {
  const std::array<Machine, 3> machines{
      {{"busy kvm_pvm (fault 25 us, doorbell 64 us)",
        {.doorbell_ns = 64'000, .page_fault_ns = 25'000, .huge_page_fault_ns = {}}},
       {"kvm_pvm (fault 5 us, doorbell 30 us)",
        {.doorbell_ns = 30'000, .page_fault_ns = 5'000, .huge_page_fault_ns = {}}},
       {"hardware (fault 0.8 us, doorbell 1.5 us)",
        {.doorbell_ns = 1'500, .page_fault_ns = 800, .huge_page_fault_ns = {}}}}};
  std::vector<std::string> traces;
  bool only_auto = false;
  double stretch = 1;
  CLI::App app("what each reporting policy would be worth, in recorded time", "policy_sim");
  app.add_flag("--auto", only_auto, "order=auto alone, no fixed settings");
  app.add_option("--stretch", stretch, "makes all gaps so many times as long")
      ->check(CLI::Range(0.01, 100.0));
  app.add_option("TRACE", traces)->required()->check(CLI::ExistingFile);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error); // --help
    }
    fmt::print(stderr, "policy_sim: {}\n", error.what());
    return 2;
  }
  // All of them first: the last may take minutes to come to.
  std::vector<PageTrace> read;
  for (const std::string& path : traces) {
    auto trace = read_trace(path);
    if (!trace) {
      fmt::print(stderr, "policy_sim: {}\n", trace.error().message);
      return 2;
    }
    read.push_back(std::move(*trace));
  }
  for (std::size_t index = 0; index < traces.size(); ++index) {
    const std::string& path = traces[index];
    const PageTrace& trace = read[index];
    for (const Machine& machine : machines) {
      fmt::print("{}, {}: net benefit in MiB s (footprint ratio), a MiB s at 1 ms\n",
                 std::filesystem::path(path).filename().string(), machine.name);
      const Fixed fixed = only_auto ? Fixed{} : sweep(trace, machine, stretch);
      double net = 0;
      const std::string learnt = run_auto(trace, machine, stretch, &net);
      if (only_auto) {
        fmt::print("  {}\n", learnt);
      } else {
        fmt::print("  best fixed {:.0f} ({}), worst {:.0f}, {}{}\n\n", fixed.best, fixed.best_name,
                   fixed.worst, learnt,
                   fixed.best > 0 ? fmt::format(": {:.1f} % of the best", 100 * net / fixed.best)
                                  : "");
      }
    }
  }
  if (std::fflush(stdout) != 0) {
    fmt::print(stderr, "policy_sim: standard output: {}\n", std::strerror(errno));
    return 2;
  }
  return 0;
}
