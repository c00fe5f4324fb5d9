// SPDX-License-Identifier: MIT
// Runs the soak matrix for a given time and ends with "soak: N passed, N failed, 0 skipped".
#include <algorithm>
#include <cstdio>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "tests/soak/cell.hpp"
#include "vmm/base/clock.hpp"
#include "vmm/measure/sampler.hpp"

namespace {

constexpr std::uint64_t ns_per_s = 1'000'000'000;
// A shorter cell shows little.
constexpr std::uint64_t least_cell_ns = 400'000'000;

struct Options {
  std::uint64_t seconds = 60;
  std::uint64_t seed = 1;
  std::string only; // cells whose name contains it
};

int run(const Options& options) {
  const std::uint64_t end_ns = vmm::monotonic_ns() + options.seconds * ns_per_s;
  std::mt19937_64 random(options.seed);
  unsigned passed = 0;
  unsigned failed = 0;
  // Round after round over the matrix, in an order of its own each, until the time is up.
  while (passed + failed == 0 || vmm::monotonic_ns() < end_ns) {
    std::vector<soak::Cell> cells = soak::matrix(random());
    std::erase_if(cells, [&options](const soak::Cell& cell) {
      return cell.name.find(options.only) == std::string::npos;
    });
    if (cells.empty()) {
      fmt::print(stderr, "soak: no cell of that name\n");
      return 2;
    }
    std::shuffle(cells.begin(), cells.end(), random);
    const std::uint64_t cell_ns =
        std::max(least_cell_ns, options.seconds * ns_per_s / (2 * cells.size()));
    for (const soak::Cell& cell : cells) {
      if (passed + failed != 0 && vmm::monotonic_ns() >= end_ns) {
        break;
      }
      const std::uint64_t seed = random();
      const soak::Verdict verdict = soak::run_cell(cell, cell_ns, seed);
      ++(verdict.failures.empty() ? passed : failed);
      fmt::print(
          "{} {}: {} blocks, {} batches, {} moves, {} faults, {} allocations failed, seed {}\n",
          verdict.failures.empty() ? "ok  " : "FAIL", cell.name, verdict.blocks, verdict.batches,
          verdict.moves, verdict.faults, verdict.failed_allocations, seed);
      for (const std::string& failure : verdict.failures) {
        fmt::print("     {}\n", failure);
      }
      static_cast<void>(std::fflush(stdout));
    }
  }
  fmt::print("soak: {} passed, {} failed, 0 skipped\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"The guest's page allocator against the host's hint service, with faults.", "soak"};
  Options options;
  app.add_option("--seconds", options.seconds, "How long, about");
  app.add_option("--seed", options.seed, "Of everything random");
  app.add_option("--only", options.only, "Cells whose name contains this");
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
