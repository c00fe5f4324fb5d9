// SPDX-License-Identifier: MIT
#include "vmm/profile/profile_text.hpp"

#include <array>

#include <doctest/doctest.h>

using namespace vmm;

namespace {

std::string name_of(std::uint64_t address) {
  switch (address & ~std::uint64_t{0xff}) {
  case 0x100:
    return "main";
  case 0x200:
    return "Buddy::allocate(Order)";
  case 0x300:
    return "odd;name\n";
  default:
    return {};
  }
}

Stack stack(VcpuActivity activity, std::vector<std::uint64_t> addresses) {
  return {activity, std::move(addresses)};
}

} // namespace

TEST_CASE("folded stacks: outermost first, one line for the same functions") {
  std::array<StackCounts, 2> vcpus;
  vcpus[0].add(stack(VcpuActivity::guest, {0x210, 0x110}), 2);
  vcpus[0].add(stack(VcpuActivity::guest, {0x220, 0x110}), 3); // elsewhere in the same function
  vcpus[0].add(stack(VcpuActivity::host, {0x210, 0x110}), 4);
  vcpus[1].add(stack(VcpuActivity::idle, {}), 7);
  CHECK(folded_stacks(vcpus, name_of) == "vcpu 0;main;Buddy::allocate(Order) 5\n"
                                         "vcpu 0;main;Buddy::allocate(Order);[host] 4\n"
                                         "vcpu 1;[idle] 7\n");
  CHECK(folded_stacks(std::array<StackCounts, 1>{}, name_of).empty());
}

TEST_CASE("folded stacks: what is not known is said to be so, and no name breaks a line") {
  std::array<StackCounts, 1> vcpus;
  vcpus[0].add(stack(VcpuActivity::guest, {0x910, 0x110}), 1);
  vcpus[0].add(stack(VcpuActivity::guest, {}), 2);
  vcpus[0].add(stack(VcpuActivity::guest, {0x300}), 3);
  CHECK(folded_stacks(vcpus, name_of) == "vcpu 0;[unknown] 2\n"
                                         "vcpu 0;main;[unknown] 1\n"
                                         "vcpu 0;odd,name? 3\n");
}

TEST_CASE("stack counts: a guest with any number of stacks takes bounded memory") {
  StackCounts counts;
  constexpr std::uint64_t many = StackCounts::most_stacks + 1000;
  for (std::uint64_t address = 0; address < many; ++address) {
    counts.add(stack(VcpuActivity::guest, {address + 1}), 1);
  }
  CHECK(counts.all().size() <= StackCounts::most_stacks + 1);
  CHECK(counts.all().at({VcpuActivity::guest, {}}) == 1000);
  counts.add(stack(VcpuActivity::guest, {1}), 5); // a known one still counts as itself
  CHECK(counts.all().at({VcpuActivity::guest, {1}}) == 6);
}

TEST_CASE("stack counts: deep stacks take bounded memory, too") {
  StackCounts counts;
  constexpr std::uint64_t depth = 64;
  constexpr std::uint64_t many = StackCounts::most_addresses / depth + 10;
  for (std::uint64_t number = 1; number <= many; ++number) {
    counts.add(stack(VcpuActivity::guest, std::vector<std::uint64_t>(depth, number)), 1);
  }
  CHECK(counts.all().at({VcpuActivity::guest, {}}) == 10);
}

TEST_CASE("profile summary: the most frequent functions, by where vCPUs were themselves") {
  std::array<StackCounts, 1> vcpus;
  vcpus[0].add(stack(VcpuActivity::guest, {0x210, 0x110}), 60);
  vcpus[0].add(stack(VcpuActivity::guest, {0x110}), 10);
  vcpus[0].add(stack(VcpuActivity::host, {0x110}), 20);
  vcpus[0].add(stack(VcpuActivity::idle, {}), 10);
  const ProfileTotals totals = profile_totals(vcpus, name_of);
  CHECK(totals.samples == 100);
  CHECK(profile_summary(totals, 99) == "\n  Profile: 100 samples, 99 a second of each vCPU\n"
                                       "     60.0 %  Buddy::allocate(Order)\n"
                                       "     20.0 %  main [host]\n"
                                       "     10.0 %  [idle]\n"
                                       "     10.0 %  main\n");
  ProfileTotals wide{.samples = 1, .functions = {{std::string(80, 'f'), 1}}};
  CHECK(profile_summary(wide, 99).ends_with("100.0 %  " + std::string(64, 'f') + "...\n"));
  wide.functions[0].function += " (a/b.cpp:12) [host]";
  CHECK(profile_summary(wide, 99).ends_with("100.0 %  " + std::string(44, 'f') +
                                            "... (a/b.cpp:12) [host]\n"));
  CHECK(profile_summary({}, 99) == "\n  Profile: 0 samples, 99 a second of each vCPU\n");
}
