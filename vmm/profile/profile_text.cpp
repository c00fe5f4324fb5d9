// SPDX-License-Identifier: MIT
#include "vmm/profile/profile_text.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "vmm/base/append_text.hpp"

namespace vmm {
namespace {

constexpr std::size_t most_shown = 10;
constexpr std::size_t most_columns = 80;
constexpr std::string_view unknown = "[unknown]";

// Looks up each address once: demangling takes time.
class Names {
 public:
  explicit Names(const FunctionNames& look_up) : look_up_(look_up) {}

  const std::string& operator()(std::uint64_t address) {
    const auto [known, is_new] = names_.try_emplace(address);
    if (is_new) {
      known->second = look_up_(address);
      // A line is divided by semicolons and ends in a count.
      std::ranges::replace(known->second, ';', ',');
      std::ranges::replace_if(
          known->second, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
      if (known->second.empty()) {
        known->second = unknown;
      }
    }
    return known->second;
  }

 private:
  const FunctionNames& look_up_;
  std::unordered_map<std::uint64_t, std::string> names_;
};

std::string path_of(const Stack& stack, Names& names) {
  std::string path;
  for (const std::string& name : frame_names(stack, std::ref(names))) {
    path += ';';
    path += name;
  }
  return path;
}

// Where " (file.cpp:12)" begins in a name; its end when there is none.
std::size_t place_in(const std::string& name) {
  const std::size_t place = name.rfind(" (");
  return place != std::string::npos && name.find(':', place) < name.find(')', place) ? place
                                                                                     : name.size();
}

std::string innermost(const Stack& stack, Names& names) {
  if (stack.activity == VcpuActivity::idle) {
    return "[idle]";
  }
  std::string name(stack.addresses.empty() ? unknown : names(stack.addresses.front()));
  return name + (stack.activity == VcpuActivity::host ? " [host]" : "");
}

} // namespace

std::vector<std::string> frame_names(const Stack& stack, const FunctionNames& name_of) {
  if (stack.activity == VcpuActivity::idle) {
    return {"[idle]"};
  }
  std::vector<std::string> names;
  for (auto address = stack.addresses.rbegin(); address != stack.addresses.rend(); ++address) {
    std::string name = name_of(*address);
    names.push_back(name.empty() ? std::string(unknown) : std::move(name));
  }
  if (names.empty()) {
    names.emplace_back(unknown);
  }
  if (stack.activity == VcpuActivity::host) {
    names.emplace_back("[host]");
  }
  return names;
}

std::string folded_stacks(std::span<const StackCounts> vcpus, const FunctionNames& name_of) {
  Names names(name_of);
  std::string text;
  for (std::size_t vcpu = 0; vcpu < vcpus.size(); ++vcpu) {
    std::map<std::string, std::uint64_t> lines; // different addresses, the same functions
    for (const auto& [stack, count] : vcpus[vcpu].all()) {
      lines[path_of(stack, names)] += count;
    }
    for (const auto& [path, count] : lines) {
      append_text(text, "vcpu {}{} {}\n", vcpu, path, count);
    }
  }
  return text;
}

ProfileTotals profile_totals(std::span<const StackCounts> vcpus, const FunctionNames& name_of) {
  Names names(name_of);
  std::map<std::string, std::uint64_t> shares;
  ProfileTotals totals;
  for (const StackCounts& vcpu : vcpus) {
    for (const auto& [stack, count] : vcpu.all()) {
      shares[innermost(stack, names)] += count;
      totals.samples += count;
    }
  }
  for (const auto& [function, samples] : shares) {
    totals.functions.push_back({function, samples});
  }
  std::ranges::sort(totals.functions, [](const FunctionShare& one, const FunctionShare& other) {
    return one.samples != other.samples ? one.samples > other.samples
                                        : one.function < other.function;
  });
  return totals;
}

std::string profile_summary(const ProfileTotals& totals, std::uint32_t hz) {
  std::string text;
  append_text(text, "\n  Profile: {} samples, {} a second of each vCPU\n", totals.samples, hz);
  const std::size_t shown = std::min(totals.functions.size(), most_shown);
  for (std::size_t index = 0; index < shown; ++index) {
    const auto& [function, samples] = totals.functions[index];
    std::string line;
    append_text(line, "    {:5.1f} %  {}",
                100 * static_cast<double>(samples) / static_cast<double>(totals.samples), function);
    if (line.size() > most_columns) {
      // Where it is says more than the end of a long name.
      const std::string place = line.substr(std::min(line.size(), place_in(line)));
      constexpr std::size_t most_place = 50;
      const std::size_t kept = place.size() <= most_place ? place.size() : 0;
      line.resize(most_columns - 3 - kept);
      line += "..." + place.substr(0, kept);
    }
    text += line + '\n';
  }
  return text;
}

} // namespace vmm
