// SPDX-License-Identifier: MIT
// Breaks each rule of memory protection: --arg what=write-code|write-constant|execute-data|
// write-boot-info|read-page-table|stack-overflow|port|jump-nowhere.
#include <cstddef>
#include <cstring>

#include "guest/arch/cpu.hpp"
#include "guest/workload.hpp"
#include "shared/layout.h"

namespace {

template <typename T> volatile T& at(std::uint64_t gpa) {
  return *guest::arch::pointer_to<volatile T>({gpa});
}

[[gnu::noinline]] std::uint64_t recurse(std::uint64_t depth) {
  volatile std::byte frame[512];
  frame[0] = static_cast<std::byte>(depth);
  return depth == 0 ? 0 : recurse(depth - 1) + static_cast<std::uint64_t>(frame[0]);
}

int run(guest::Env& env) {
  const std::string_view what = env.arg("what", "");
  if (what == "write-code") {
    at<std::byte>(reinterpret_cast<std::uint64_t>(&run)) = std::byte{0xcc};
  } else if (what == "write-constant") {
    at<std::byte>(EBB_IMAGE_GPA) = std::byte{0};
  } else if (what == "execute-data") {
    void* const page = env.allocate_pages({0});
    std::memset(page, 0xc3, 16); // ret
    reinterpret_cast<void (*)()>(page)();
  } else if (what == "write-boot-info") {
    at<std::byte>(EBB_BOOT_INFO_GPA) = std::byte{0};
  } else if (what == "read-page-table") {
    env.count_events(at<std::uint64_t>(EBB_PAGE_TABLE_GPA));
  } else if (what == "stack-overflow") {
    env.count_events(recurse(1'000'000));
  } else if (what == "port") {
    guest::arch::out32(0x80, 0);
  } else if (what == "jump-nowhere") {
    reinterpret_cast<void (*)()>(0x7000000000)();
  } else {
    env.usage_error("what={} is unknown", what);
  }
  guest::print("{} went unnoticed\n", what);
  return 0;
}

} // namespace

EBB_WORKLOAD(test, "break a rule", run, guest::Parameter::text("what"));
