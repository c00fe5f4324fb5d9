// SPDX-License-Identifier: MIT
// Any bytes as a hypercall trace: every reader must come to an end without touching what is not
// there. Inputs are stretched over a small valid header now and then, or few would get past it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "tests/support/trace_builder.hpp"
#include "tools/hvtrace/check.hpp"
#include "tools/hvtrace/diff.hpp"
#include "tools/hvtrace/export.hpp"
#include "tools/hvtrace/info.hpp"
#include "tools/hvtrace/list.hpp"
#include "tools/hvtrace/stats.hpp"
#include "tools/hvtrace/trace_file.hpp"
#include "vmm/trace/screen.hpp"
#include "vmm/trace/step_commands.hpp"
#include "vmm/trace/stepper.hpp"
#include "vmm/trace/why.hpp"

namespace {

// One reader a time: an input that is interesting to one is tried soon enough on the others.
constexpr unsigned readers = 8;

void read(std::span<const std::byte> bytes, unsigned reader) {
  const auto file = hvtrace::TraceFile::parse(bytes, "fuzz");
  // The frame map grows with the RAM that the header claims; that is bounded, but not small.
  if (!file || file->header().ram_bytes > test_support::trace_ram_bytes) {
    return;
  }
  const vmm::Symbols symbols;
  std::size_t written = 0;
  const auto sink = [&written](std::string_view piece) { written += piece.size(); };
  switch (reader % readers) {
  case 0:
    static_cast<void>(hvtrace::render_check(hvtrace::check(*file)));
    static_cast<void>(hvtrace::render_info(*file));
    break;
  case 1:
    static_cast<void>(hvtrace::render_stats(*file, hvtrace::total(*file), symbols, 10));
    break;
  case 2:
    hvtrace::list(*file, std::nullopt, symbols, sink);
    break;
  case 3:
    hvtrace::export_perfetto(*file, {}, sink);
    break;
  case 4:
    hvtrace::export_chrome(*file, {}, sink);
    break;
  case 5:
    hvtrace::export_csv(*file, sink);
    static_cast<void>(hvtrace::why(*file, 8 << 20, symbols, 10));
    break;
  case 6:
    static_cast<void>(hvtrace::diff(*file, symbols, *file, symbols));
    break;
  default: {
    hvtrace::Stepper stepper(*file);
    const hvtrace::EventText text(file->header(), &symbols);
    stepper.forward(5);
    static_cast<void>(hvtrace::render_screen(stepper, text, {}));
    stepper.back(2);
    static_cast<void>(hvtrace::render_screen(stepper, text, {.columns = 20, .rows = 5}));
  }
  }
}

// Any text as the stepper's commands, conditions included, over an orderly run.
void run_commands(std::string_view script) {
  const auto bytes = test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::all),
                                               test_support::orderly_run());
  const auto file = hvtrace::TraceFile::parse(bytes, "fuzz");
  const vmm::Symbols symbols;
  hvtrace::Stepper stepper(*file);
  hvtrace::StepCommands commands(stepper, symbols);
  for (unsigned lines = 0; lines < 50 && !script.empty(); ++lines) {
    const std::string_view line = script.substr(0, script.find('\n'));
    static_cast<void>(commands.execute(line));
    script.remove_prefix(std::min(line.size() + 1, script.size()));
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  if (size < 2) {
    read(bytes, 0);
    return 0;
  }
  // The first byte chooses: the bytes as they are, records behind a good header, an orderly run
  // with its bytes changed here and there, or commands; and the reader.
  const unsigned reader = data[0] / 4;
  if (data[0] % 4 == 0) {
    read(bytes.subspan(1), reader);
  } else if (data[0] % 4 == 3) {
    // The bytes are text as they are.
    run_commands({reinterpret_cast<const char*>(data) + 1, size - 1});
  } else if (data[0] % 4 == 1) {
    std::vector<abi::TraceRecord> records((size - 1) / 36);
    for (std::size_t index = 0; index < records.size(); ++index) {
      records[index].sequence = index + 1;
      std::memcpy(&records[index].time_ns, data + 1 + index * 36, sizeof(std::uint64_t) * 3 + 8);
    }
    abi::TraceHeader header = test_support::trace_header(abi::TraceLevel::all);
    header.ram_bytes = std::uint64_t{16} << 20;
    header.finished = data[0] >> 7;
    read(test_support::trace_bytes(header, records), reader);
  } else {
    auto whole = test_support::trace_bytes(test_support::trace_header(abi::TraceLevel::ranges),
                                           test_support::orderly_run());
    for (std::size_t at = 1; at + 3 <= size; at += 3) {
      const std::size_t where = (data[at] | std::size_t{data[at + 1]} << 8) % whole.size();
      whole[where] ^= std::byte{data[at + 2]};
    }
    read(whole, reader);
  }
  return 0;
}
