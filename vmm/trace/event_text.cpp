// SPDX-License-Identifier: MIT
#include "vmm/trace/event_text.hpp"

#include <iterator>

#include <fmt/compile.h>

#include "shared/hypercall.hpp"
#include "shared/report_channel.hpp"

namespace hvtrace {
namespace {

constexpr std::size_t max_codes = 4096;

std::uint64_t field_of(const abi::TraceRecord& record, unsigned field) {
  switch (field) {
  case 0:
    return record.address;
  case 1:
    return record.value;
  case 2:
    return record.count;
  case 3:
    return record.order;
  default:
    return record.detail;
  }
}

} // namespace

std::string seconds(std::uint64_t ns) {
  return fmt::format("{}.{:06}", ns / 1'000'000'000, ns / 1000 % 1'000'000);
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.4g} {}", value, units[unit]);
}

std::string_view outcome_name(std::uint8_t outcome) {
  switch (static_cast<abi::Outcome>(outcome)) {
  case abi::Outcome::declined:
    return "declined";
  case abi::Outcome::discarded:
    return "discarded";
  case abi::Outcome::failed:
    return "failed";
  }
  return "undefined";
}

std::string_view kind_name(std::uint8_t kind) {
  switch (static_cast<abi::RangeKind>(kind)) {
  case abi::RangeKind::hint:
    return "hint";
  case abi::RangeKind::span:
    return "span";
  }
  return "undefined";
}

std::string_view level_name(abi::TraceLevel level) {
  switch (level) {
  case abi::TraceLevel::off:
    return "off";
  case abi::TraceLevel::batches:
    return "batches";
  case abi::TraceLevel::ranges:
    return "ranges";
  case abi::TraceLevel::all:
    return "all";
  }
  return "?";
}

std::string_view end_name(std::uint8_t kind) {
  switch (static_cast<abi::TraceEnd>(kind)) {
  case abi::TraceEnd::exited:
    return "exited";
  case abi::TraceEnd::panicked:
    return "panicked";
  case abi::TraceEnd::crashed:
    return "crashed";
  case abi::TraceEnd::interrupted:
    return "interrupted";
  case abi::TraceEnd::host_failed:
    return "host_failed";
  case abi::TraceEnd::rotated:
    return "rotated";
  case abi::TraceEnd::stopped:
    return "stopped";
  }
  return "undefined";
}

std::string_view origin_name(std::uint8_t origin) {
  switch (static_cast<abi::TraceOrigin>(origin)) {
  case abi::TraceOrigin::started:
    return "started";
  case abi::TraceOrigin::rotated:
    return "rotated";
  }
  return "undefined";
}

std::string_view fault_name(std::uint8_t fault) {
  switch (static_cast<abi::TraceFault>(fault)) {
  case abi::TraceFault::delay:
    return "delay";
  case abi::TraceFault::drop:
    return "drop";
  case abi::TraceFault::stall:
    return "stall";
  case abi::TraceFault::decline:
    return "decline";
  case abi::TraceFault::fail:
    return "fail";
  case abi::TraceFault::partial:
    return "partial";
  case abi::TraceFault::reorder:
    return "reorder";
  case abi::TraceFault::duplicate:
    return "duplicate";
  }
  return "undefined";
}

std::string_view mode_name(std::uint8_t mode) {
  switch (static_cast<abi::TraceMode>(mode)) {
  case abi::TraceMode::host_sync:
    return "host_sync";
  case abi::TraceMode::host_async:
    return "host_async";
  case abi::TraceMode::host_poll:
    return "host_poll";
  case abi::TraceMode::reporting_off:
    return "reporting_off";
  case abi::TraceMode::reporting_on:
    return "reporting_on";
  }
  return "undefined";
}

std::string_view method_name(std::uint8_t method) {
  switch (static_cast<abi::TraceMethod>(method)) {
  case abi::TraceMethod::dontneed:
    return "dontneed";
  case abi::TraceMethod::free_lazily:
    return "free";
  case abi::TraceMethod::none:
    return "none";
  }
  return "undefined";
}

std::string_view hypercall_name(std::uint64_t number) {
  switch (static_cast<abi::Hypercall>(number)) {
  case abi::Hypercall::negotiate:
    return "negotiate";
  case abi::Hypercall::console_write:
    return "console_write";
  case abi::Hypercall::wait:
    return "wait";
  case abi::Hypercall::plug:
    return "plug";
  case abi::Hypercall::exit:
    return "exit";
  case abi::Hypercall::panic:
    return "panic";
  case abi::Hypercall::workload_begin:
    return "workload_begin";
  case abi::Hypercall::workload_end:
    return "workload_end";
  case abi::Hypercall::start_vcpus:
    return "start_vcpus";
  case abi::Hypercall::prefault:
    return "prefault";
  case abi::Hypercall::file:
    return "file";
  case abi::Hypercall::socket:
    return "socket";
  }
  return "unknown";
}

std::string_view detail_name(const abi::TraceRecord& record) {
  switch (record.event) {
  case abi::TraceEvent::range:
    return kind_name(record.detail);
  case abi::TraceEvent::outcome:
    return outcome_name(record.detail >> 4);
  case abi::TraceEvent::discard_begin:
  case abi::TraceEvent::discard_end:
    return method_name(record.detail);
  case abi::TraceEvent::fault:
    return fault_name(record.detail);
  case abi::TraceEvent::mode:
    return mode_name(record.detail);
  case abi::TraceEvent::end:
    return end_name(record.detail);
  case abi::TraceEvent::continued:
    return origin_name(record.detail);
  case abi::TraceEvent::hypercall:
    return hypercall_name(record.value);
  default:
    return {};
  }
}

EventText::EventText(const abi::TraceHeader& header, const vmm::Symbols* symbols)
    : symbols_(symbols) {
  for (unsigned event = 0; event < plans_.size(); ++event) {
    plans_[event].name = fmt::format("event {}", event);
    plans_[event].padded = fmt::format("{:<14}", plans_[event].name);
  }
  const auto style_of = [](std::string_view text) {
    if (text.ends_with("gpa") || text == "features") {
      return Style::hex;
    }
    if (text == "code") {
      return Style::code;
    }
    if (text.ends_with("bytes")) {
      return Style::bytes;
    }
    if (text == "outcome") {
      return Style::outcome;
    }
    if (text == "end kind") {
      return Style::end_kind;
    }
    if (text == "origin") {
      return Style::origin;
    }
    if (text == "fault") {
      return Style::fault;
    }
    if (text == "mode") {
      return Style::mode;
    }
    if (text == "method") {
      return Style::method;
    }
    if (text == "call") {
      return Style::call;
    }
    return text == "kind" ? Style::kind : Style::decimal;
  };
  for (std::uint32_t index = 0; index < header.event_count; ++index) {
    const abi::TraceEventInfo& info = header.events[index];
    Plan& plan = plans_[static_cast<std::uint8_t>(info.event)];
    plan.name = info.name;
    plan.padded = fmt::format("{:<14}", plan.name);
    plan.parts.clear();
    const std::array<std::string_view, 5> texts{info.address, info.value, info.count, info.order,
                                                info.detail};
    for (std::size_t field = 0; field < texts.size(); ++field) {
      if (!texts[field].empty()) {
        std::string label(texts[field]);
        for (char& character : label) {
          character = character == ' ' ? '_' : character;
        }
        plan.parts.push_back(
            {static_cast<Field>(field), style_of(texts[field]), " " + label + "="});
      }
    }
  }
}

std::string EventText::name(abi::TraceEvent event) const {
  return plans_[static_cast<std::uint8_t>(event)].name;
}

const std::string& EventText::code_text(std::uint64_t code) const {
  const auto known = codes_.find(code);
  if (known != codes_.end()) {
    return known->second;
  }
  if (codes_.size() >= max_codes) {
    codes_.clear();
  }
  // Within the call that returns there.
  return codes_[code] = symbols_->describe(code - 1);
}

void EventText::line(const abi::TraceRecord& record, std::string& out) const {
  fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:>9} {:>4}.{:06} #{:<2} "), record.sequence,
                 record.time_ns / 1'000'000'000, record.time_ns / 1000 % 1'000'000, record.channel);
  const std::string& name = plans_[static_cast<std::uint8_t>(record.event)].padded;
  out += name;
  fields(record, out);
}

void EventText::fields(const abi::TraceRecord& record, std::string& out) const {
  const auto text = [&out](std::string_view part) { out += part; };
  for (const Part& part : plans_[static_cast<std::uint8_t>(record.event)].parts) {
    const std::uint64_t value = field_of(record, static_cast<unsigned>(part.field));
    text(part.label);
    switch (part.style) {
    case Style::hex:
      fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:#x}"), value);
      break;
    case Style::code:
      if (symbols_ != nullptr && value != 0) {
        text(code_text(value));
      } else {
        fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:#x}"), value);
      }
      break;
    case Style::outcome:
      text(outcome_name(static_cast<std::uint8_t>(value >> 4)));
      text((value & 0xf) == 1 ? " (span)" : "");
      break;
    case Style::kind:
      text(kind_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::end_kind:
      text(end_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::origin:
      text(origin_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::fault:
      text(fault_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::mode:
      text(mode_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::method:
      text(method_name(static_cast<std::uint8_t>(value)));
      break;
    case Style::call:
      text(hypercall_name(value));
      break;
    case Style::bytes:
    case Style::decimal:
      fmt::format_to(std::back_inserter(out), FMT_COMPILE("{}"), value);
      break;
    }
  }
}

} // namespace hvtrace
