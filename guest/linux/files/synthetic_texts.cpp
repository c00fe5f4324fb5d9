// SPDX-License-Identifier: MIT
#include "guest/linux/files/synthetic_texts.hpp"

#include <sys/mman.h>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t ns_per_second = 1'000'000'000;

} // namespace

Text memory_text(const SyntheticFacts& facts) {
  const std::uint64_t all = facts.machine.ram_bytes() >> 10;
  const std::uint64_t free = facts.pages.space().free_pages * abi::page_bytes >> 10;
  return text_of(
      "MemTotal:       ", all, " kB\nMemFree:        ", free, " kB\nMemAvailable:   ", free,
      " kB\nBuffers:        0 kB\nCached:         0 kB\nSwapCached:     0 kB\n",
      "SwapTotal:      0 kB\nSwapFree:       0 kB\nCommitLimit:    ", all,
      " kB\nHugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048", " kB\n");
}

Text cpu_text(const SyntheticFacts& facts) {
  Text text;
  for (unsigned cpu = 0; cpu < facts.machine.vcpus(); ++cpu) {
    put(text, "processor\t: ");
    put(text, std::uint64_t{cpu});
    put(text, "\nmodel name\t: Ebb virtual CPU\nphysical id\t: 0\ncore id\t\t: ");
    put(text, std::uint64_t{cpu});
    put(text, "\nflags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm\n\n");
  }
  return text;
}

Text map_text(const SyntheticFacts& facts) {
  Text text;
  facts.memory.visit([&](std::uint64_t start, std::uint64_t end, Protection protection) {
    put(text, Hex{start});
    put(text, "-");
    put(text, Hex{end});
    put(text, (protection & PROT_READ) != 0 ? " r" : " -");
    put(text, (protection & PROT_WRITE) != 0 ? "w" : "-");
    put(text, (protection & PROT_EXEC) != 0 ? "xp" : "-p");
    put(text, " 00000000 00:00 0 \n");
  });
  return text;
}

Text status_text(const SyntheticFacts& facts) {
  const ShownProcess::Numbers is = facts.process.numbers();
  const auto own_id = static_cast<std::uint64_t>(is.id);
  const std::uint64_t kib = facts.memory.mapped_bytes() >> 10;
  const auto identity = [](std::uint64_t id) {
    return text_of("\t", id, "\t", id, "\t", id, "\t", id);
  };
  return text_of("Name:\t", name_of(view(facts.process.program())),
                 "\nState:\tR (running)\nTgid:\t", own_id, "\nPid:\t", own_id, "\nPPid:\t",
                 static_cast<std::uint64_t>(is.parent),
                 "\nTracerPid:\t0\nUid:", view(identity(facts.user)),
                 "\nGid:", view(identity(facts.group)), "\nVmPeak:\t", kib, " kB\nVmSize:\t", kib,
                 " kB\nVmHWM:\t", kib, " kB\nVmRSS:\t", kib, " kB\nThreads:\t1\n");
}

// proc(5): 52 fields.
Text stat_text(const SyntheticFacts& facts) {
  const std::uint64_t bytes = facts.memory.mapped_bytes();
  const std::uint64_t ticks = facts.machine.now_ns() / (ns_per_second / 100);
  const ShownProcess::Numbers is = facts.process.numbers();
  const auto number = [](std::int32_t of) { return static_cast<std::uint64_t>(of); };
  return text_of(number(is.id), " (", name_of(view(facts.process.program())), ") R ",
                 number(is.parent), " ", number(is.group), " ", number(is.session),
                 " 0 -1 0 0 0 0 0 ", ticks, " 0 0 0 20 0 1 0 0 ", bytes, " ",
                 bytes / abi::page_bytes,
                 " 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

Text statm_text(const SyntheticFacts& facts) {
  const std::uint64_t pages = facts.memory.mapped_bytes() / abi::page_bytes;
  return text_of(pages, " ", pages, " 0 0 0 ", pages, " 0\n");
}

Text mount_text(const SyntheticFacts& facts) {
  Text text;
  for (const FileTree::MountPoint& mount : facts.tree.mounts()) {
    put(text, "ebb ");
    put(text, mount.path);
    put(text, " ebb rw 0 0\n");
  }
  return text;
}

Text uptime_text(const SyntheticFacts& facts) {
  const std::uint64_t hundredths = facts.machine.now_ns() / (ns_per_second / 100);
  const std::uint64_t rest = hundredths % 100;
  return text_of(hundredths / 100, rest < 10 ? ".0" : ".", rest, " 0.00\n");
}

Text limits_text(const SyntheticFacts& facts) {
  const std::uint64_t files = facts.process.files().limit();
  Text soft = text_of(files);
  soft.resize(21, ' ');
  return text_of("Limit                     Soft Limit           Hard Limit           Units     \n",
                 "Max open files            ", view(soft), "65536                files     \n");
}

Text online_text(const SyntheticFacts& facts) {
  const std::uint64_t last = facts.machine.vcpus() - 1;
  return last == 0 ? text_of("0\n") : text_of("0-", last, "\n");
}

Text total_text(const SyntheticFacts& facts) {
  const std::uint64_t ticks = facts.machine.now_ns() / (ns_per_second / 100);
  Text text = text_of("cpu  ", ticks * facts.machine.vcpus(), " 0 0 0 0 0 0 0 0 0\n");
  for (unsigned cpu = 0; cpu < facts.machine.vcpus(); ++cpu) {
    put(text, view(text_of("cpu", std::uint64_t{cpu}, " ", ticks, " 0 0 0 0 0 0 0 0 0\n")));
  }
  put(text, "processes 1\nprocs_running 1\nprocs_blocked 0\n");
  return text;
}

} // namespace guest::linux
