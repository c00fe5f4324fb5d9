// SPDX-License-Identifier: MIT
// What the guest's page allocator costs more with more vCPUs, by counting: cache lines that move
// from one vCPU's cache to another's, looks at memory, and locks taken, per operation. The whole
// allocator, its accesses told by the compiler; vCPUs take turns operation by operation, so nobody
// waits and every line that is shared moves as often as it can. No clock: the same numbers on every
// machine.
//
// Usage: sharing [--report] [--lines] [--order N]... [--vcpus N]...
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "guest/mm/page_allocator.hpp"
#include "tests/support/fake_report_host.hpp"
#include "tests/support/still_platform.hpp"
#include "tools/lab/sim/access_hooks.hpp"
#include "tools/lab/sim/cache_lines.hpp"

namespace {

using namespace guest;

constexpr abi::Pfn ram_first{1U << abi::max_order};
constexpr abi::Pfn ram_end{ram_first.value + (std::uint64_t{8} << 30 >> abi::page_shift)};
// Of each vCPU, at once: some times what a cache holds.
constexpr std::size_t blocks_each = 100;
constexpr std::size_t warm_up_rounds = 2;
constexpr std::size_t counted_rounds = 4;

// The vCPU whose turn it is touches lines; but for its stack, which here is everybody's.
class Turns final : public sharing::AccessListener {
 public:
  void take(unsigned vcpu) { vcpu_ = vcpu; }
  void read(std::uint64_t address, std::uint64_t bytes) override {
    touch(address, bytes, sharing::Access::read);
  }
  void written(std::uint64_t address, std::uint64_t bytes) override {
    touch(address, bytes, sharing::Access::write);
  }
  void lock_taken() override { ++locks_; }

  void reset_counts() {
    lines_.reset_counts();
    locks_ = 0;
  }
  [[nodiscard]] const sharing::CacheLines& lines() const { return lines_; }
  [[nodiscard]] std::uint64_t locks() const { return locks_; }

 private:
  static constexpr std::uint64_t stack_bytes = std::uint64_t{1} << 20;

  void touch(std::uint64_t address, std::uint64_t bytes, sharing::Access access) {
    const auto here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
    if (address - (here - stack_bytes) > 2 * stack_bytes) {
      lines_.touch(vcpu_, address, bytes, access);
    }
  }

  sharing::CacheLines lines_;
  unsigned vcpu_ = 0;
  std::uint64_t locks_ = 0;
};

// An allocator for so many vCPUs, and a host that answers before the doorbell returns. What a host
// touches is not counted.
class Machine final : public test_support::StillPlatform {
 public:
  Machine(unsigned vcpus, bool reports)
      : channels_(vcpus),
        metadata_(mm::Buddy::metadata_bytes(ram_first, ram_end) / sizeof(Page) + 1) {
    for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu) {
      hosts_.emplace_back(channels_[vcpu]);
    }
    pages_ = std::make_unique<mm::PageAllocator>(
        static_cast<mm::PagePlatform&>(*this),
        mm::PageAllocatorConfig{.first = ram_first,
                                .end = ram_end,
                                .plugged_end = ram_end,
                                .policy = {.enabled = std::uint8_t{reports}, .order = 0}},
        std::as_writable_bytes(std::span(metadata_)), channels_.pointers(), status_);
  }

  // As in a guest: time goes on.
  std::uint64_t now_ns() override { return now_ns_ += 100; }
  void ring_doorbell(unsigned channel) override {
    sharing::AccessListener* const before = sharing::listen(nullptr);
    for (const test_support::TakenBatch& batch : hosts_[channel].take()) {
      hosts_[channel].post(test_support::FakeReportHost::answer_to(
          batch, [](abi::RangeDescriptor) { return abi::Outcome::discarded; }));
    }
    sharing::listen(before);
  }

  [[nodiscard]] abi::Pfn allocate(unsigned vcpu, abi::Order order) {
    const mm::Allocation got = pages_->allocate(vcpu, order);
    if (!got.ok()) {
      fmt::print(stderr, "sharing: out of memory\n");
      std::exit(1);
    }
    return got.pfn;
  }
  void free(unsigned vcpu, abi::Pfn block, abi::Order order) {
    if (pages_->free(vcpu, block, order) != mm::FreeResult::ok) {
      fmt::print(stderr, "sharing: a free was refused\n");
      std::exit(1);
    }
  }

  // Which part of the allocator a line is of.
  [[nodiscard]] std::string name_of(std::uint64_t line) const {
    const std::uint64_t address = line << sharing::CacheLines::line_shift;
    const auto within = [&](const void* start, std::uint64_t bytes, const char* name) {
      const std::uint64_t offset = address + 63 - reinterpret_cast<std::uint64_t>(start);
      return offset < bytes + 63 ? fmt::format("{}+{:#x}", name, offset & ~std::uint64_t{63})
                                 : std::string();
    };
    for (std::string name : {within(pages_.get(), sizeof *pages_, "allocator"),
                             within(metadata_.data(), metadata_.size() * sizeof(Page), "metadata"),
                             within(&status_, sizeof status_, "status")}) {
      if (!name.empty()) {
        return name;
      }
    }
    return "channel or other";
  }

 private:
  struct alignas(abi::page_bytes) Page {
    std::array<std::byte, abi::page_bytes> bytes{};
  };

  alignas(abi::page_bytes) abi::GuestStatus status_{};
  test_support::ChannelSet channels_;
  std::vector<test_support::FakeReportHost> hosts_;
  std::vector<Page> metadata_; // begins where a line does, as in a guest
  std::unique_ptr<mm::PageAllocator> pages_;
  std::uint64_t now_ns_ = 0;
};

enum class Loop : std::uint8_t { pair, bulk, free, random, passed };
constexpr std::array<const char*, 5> loop_names{"pair", "bulk", "free", "random", "passed"};

struct Result {
  double transfers = 0;
  double accesses = 0;
  double locks = 0;
};

// Runs all loops, vCPUs taking turns, and counts one.
class Rounds {
 public:
  Rounds(unsigned vcpus, abi::Order order, bool reports)
      : vcpus_(vcpus), order_(order), machine_(vcpus, reports), blocks_(vcpus) {
    for (std::vector<abi::Pfn>& mine : blocks_) {
      mine.resize(blocks_each);
    }
  }

  Result count(Loop counted) {
    Result sum;
    for (std::size_t round = 0; round < warm_up_rounds + counted_rounds; ++round) {
      turns_.reset_counts();
      run_round(counted);
      if (round >= warm_up_rounds) {
        const double operations = static_cast<double>(vcpus_ * blocks_each * counted_rounds);
        sum.transfers += static_cast<double>(turns_.lines().counts().transfers) / operations;
        sum.accesses += static_cast<double>(turns_.lines().counts().accesses) / operations;
        sum.locks += static_cast<double>(turns_.locks()) / operations;
      }
    }
    return sum;
  }

  // Of the last round that was counted: the lines that moved most.
  void print_lines() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> lines(
        turns_.lines().transfers_by_line().begin(), turns_.lines().transfers_by_line().end());
    std::ranges::sort(lines, [](const auto& one, const auto& other) {
      return one.second != other.second ? one.second > other.second : one.first < other.first;
    });
    lines.resize(std::min<std::size_t>(lines.size(), 24));
    for (const auto& [line, transfers] : lines) {
      fmt::print("      {:6.3f}  {}\n",
                 static_cast<double>(transfers) / static_cast<double>(vcpus_ * blocks_each),
                 machine_.name_of(line));
    }
  }

 private:
  // `step` of each vCPU's block number 0, then of number 1, and so on.
  template <typename Step> void in_turns(bool counted, const Step& step) {
    for (std::size_t index = 0; index < blocks_each; ++index) {
      for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
        turns_.take(vcpu);
        sharing::listen(counted ? &turns_ : nullptr);
        step(vcpu, index);
        sharing::listen(nullptr);
      }
    }
  }

  void run_round(Loop counted) {
    in_turns(counted == Loop::pair, [&](unsigned vcpu, std::size_t) {
      machine_.free(vcpu, machine_.allocate(vcpu, order_), order_);
    });
    const auto allocate = [&](bool count) {
      in_turns(count, [&](unsigned vcpu, std::size_t index) {
        blocks_[vcpu][index] = machine_.allocate(vcpu, order_);
      });
    };
    const auto free = [&](bool count, unsigned shift) {
      in_turns(count, [&](unsigned vcpu, std::size_t index) {
        machine_.free(vcpu, blocks_[(vcpu + shift) % vcpus_][index], order_);
      });
    };
    allocate(counted == Loop::bulk);
    free(counted == Loop::free, 0);
    allocate(false);
    for (std::vector<abi::Pfn>& mine : blocks_) {
      std::ranges::shuffle(mine, dice_);
    }
    free(counted == Loop::random, 0);
    allocate(false);
    free(counted == Loop::passed, 1);
  }

  unsigned vcpus_;
  abi::Order order_;
  Turns turns_;
  Machine machine_;
  std::vector<std::vector<abi::Pfn>> blocks_;
  std::mt19937_64 dice_{1};
};

struct Options {
  std::vector<unsigned> orders{0, 3, 4, 9};
  std::vector<unsigned> vcpus{1, 2, 4, 8, 16};
  bool reports = false;
  bool lines = false;
};

void print_order(const Options& options, abi::Order order) {
  for (std::size_t loop = 0; loop < loop_names.size(); ++loop) {
    for (const unsigned vcpus : options.vcpus) {
      // Not on the stack, which is not counted.
      const auto rounds = std::make_unique<Rounds>(vcpus, order, options.reports);
      const Result result = rounds->count(static_cast<Loop>(loop));
      fmt::print("{:>5}  {:<6}  {:>5}  {:>9.2f}  {:>8.2f}  {:>6.3f}\n", order.value,
                 loop_names[loop], vcpus, result.transfers, result.accesses, result.locks);
      if (options.lines) {
        rounds->print_lines();
      }
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("what the page allocator costs more with more vCPUs, by counting", "sharing");
  app.add_option("--order", options.orders, "of the blocks [0 3 4 9]")
      ->check(CLI::Range(0U, unsigned{abi::max_order}));
  app.add_option("--vcpus", options.vcpus, "how many take turns [1 2 4 8 16]")
      ->check(CLI::Range(1U, unsigned{EBB_MAX_VCPUS}));
  app.add_flag("--report", options.reports, "everything is hinted, to a host that answers at once");
  app.add_flag("--lines", options.lines, "which lines move most");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error); // --help
    }
    fmt::print(stderr, "sharing: {}\n", error.what());
    return 2;
  }
  fmt::print(
      "Each operation of: pair, allocate and free; bulk, allocate; free, in the same order;\n"
      "random, free in any order; passed, free what another vCPU has allocated.\n\n"
      "order  loop    vCPUs  transfers  accesses   locks\n");
  for (const unsigned order : options.orders) {
    print_order(options, abi::Order{static_cast<std::uint8_t>(order)});
  }
  if (std::fflush(stdout) != 0) {
    fmt::print(stderr, "sharing: standard output: {}\n", std::strerror(errno));
    return 2;
  }
  return 0;
}
