// SPDX-License-Identifier: MIT
// What a workload can be told, and the check that nothing else was said: before the workload runs,
// every argument must be one that it declares, with a value that it can have.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace guest {

// One `--arg key=value` of a workload, or its `--input`.
struct Parameter {
  enum class Kind : std::uint8_t {
    number,   // whole, lowest to highest
    bytes,    // with an optional suffix K, M, G or T
    memory,   // bytes, at most what the guest has
    duration, // with its unit: us, ms or s; at most a year
    choice,   // one of `choices`
    text,     // anything
    input,    // not an argument: the file given with --input is read
  };

  std::string_view key;
  Kind kind = Kind::text;
  std::uint64_t lowest = 0;
  std::uint64_t highest = ~std::uint64_t{0};
  std::string_view choices{}; // by bars, as "on|off"

  static constexpr Parameter number(std::string_view key, std::uint64_t lowest,
                                    std::uint64_t highest) {
    return {.key = key, .kind = Kind::number, .lowest = lowest, .highest = highest};
  }
  static constexpr Parameter bytes(std::string_view key) {
    return {.key = key, .kind = Kind::bytes};
  }
  static constexpr Parameter memory(std::string_view key) {
    return {.key = key, .kind = Kind::memory};
  }
  static constexpr Parameter duration(std::string_view key) {
    return {.key = key, .kind = Kind::duration};
  }
  static constexpr Parameter choice(std::string_view key, std::string_view choices) {
    return {.key = key, .kind = Kind::choice, .choices = choices};
  }
  static constexpr Parameter text(std::string_view key) { return {.key = key}; }
  static constexpr Parameter input() { return {.key = "--input", .kind = Kind::input}; }
};

// Longest time that a parameter in milliseconds may say: a year.
inline constexpr std::uint64_t longest_ms = std::uint64_t{366} * 24 * 3600 * 1000;

// Values as text; nothing when they are none, or too large for 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_duration_ns(std::string_view text);

class Env;
struct WorkloadEntry;

// Ends the guest with one line and exit status 2 when it was told something that this workload does
// not take, twice, or with a value that it cannot have.
void check_arguments(Env& env, const WorkloadEntry& workload);

} // namespace guest
