// SPDX-License-Identifier: MIT
// Records as text, by what the trace's own event table says of their fields.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shared/trace_record.hpp"
#include "vmm/base/symbols.hpp"

namespace hvtrace {

// "12.345678": seconds and microseconds.
[[nodiscard]] std::string seconds(std::uint64_t ns);
// "4 KiB", "1.5 MiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);
[[nodiscard]] std::string_view outcome_name(std::uint8_t outcome);
[[nodiscard]] std::string_view kind_name(std::uint8_t kind);
[[nodiscard]] std::string_view level_name(abi::TraceLevel level);
[[nodiscard]] std::string_view end_name(std::uint8_t kind);
[[nodiscard]] std::string_view origin_name(std::uint8_t origin);
[[nodiscard]] std::string_view fault_name(std::uint8_t fault);
[[nodiscard]] std::string_view mode_name(std::uint8_t mode);
[[nodiscard]] std::string_view method_name(std::uint8_t method);
[[nodiscard]] std::string_view hypercall_name(std::uint64_t number);
// The name of what a record's detail says (of a hypercall: of the call); empty where it is a number
// or unused.
[[nodiscard]] std::string_view detail_name(const abi::TraceRecord& record);

class EventText {
 public:
  // `symbols` may be null: code addresses are numbers then. Both outlive the object.
  EventText(const abi::TraceHeader& header, const vmm::Symbols* symbols);

  // The name in the event table; "event N" for one that it does not have.
  [[nodiscard]] std::string name(abi::TraceEvent event) const;
  // Appends one line without newline: number, time, channel, name, fields.
  void line(const abi::TraceRecord& record, std::string& out) const;
  // The fields alone: "gpa=0x400000 batch=7".
  void fields(const abi::TraceRecord& record, std::string& out) const;

 private:
  enum class Style : std::uint8_t {
    decimal,
    hex,
    code,
    bytes,
    outcome,
    kind,
    end_kind,
    origin,
    fault,
    mode,
    method,
    call
  };
  enum class Field : std::uint8_t { address, value, count, order, detail };
  struct Part {
    Field field;
    Style style;
    std::string label; // " gpa="
  };
  struct Plan {
    std::string name;
    std::string padded;
    std::vector<Part> parts;
  };

  [[nodiscard]] const std::string& code_text(std::uint64_t code) const;

  std::array<Plan, 256> plans_;
  const vmm::Symbols* symbols_;
  mutable std::unordered_map<std::uint64_t, std::string> codes_; // described before; bounded
};

} // namespace hvtrace
