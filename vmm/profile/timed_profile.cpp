// SPDX-License-Identifier: MIT
#include "vmm/profile/timed_profile.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vmm/base/append_text.hpp"
#include "vmm/base/json.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

constexpr std::size_t piece_bytes = std::size_t{64} << 10;

// Frames by name, in the order in which they came, and stacks as their numbers.
class FrameTable {
 public:
  explicit FrameTable(const FunctionNames& name_of)
      : name_of_([this, &name_of](std::uint64_t address) {
          const auto [known, is_new] = by_address_.try_emplace(address);
          if (is_new) {
            known->second = name_of(address);
          }
          return known->second;
        }) {}
  FrameTable(const FrameTable&) = delete;
  FrameTable& operator=(const FrameTable&) = delete;
  ~FrameTable() = default;

  // "[3,1,4]", outermost first.
  const std::string& numbers_of(const Stack& stack) {
    const auto [known, is_new] = stacks_.try_emplace(&stack);
    if (is_new) {
      for (const std::string& name : frame_names(stack, name_of_)) {
        append_text(known->second, "{}{}", known->second.empty() ? '[' : ',', number_of(name));
      }
      known->second += ']';
    }
    return known->second;
  }
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

 private:
  std::size_t number_of(const std::string& name) {
    const auto [known, is_new] = numbers_.try_emplace(name, names_.size());
    if (is_new) {
      names_.push_back(name);
    }
    return known->second;
  }

  std::unordered_map<std::uint64_t, std::string> by_address_;
  const FunctionNames name_of_; // of these
  std::unordered_map<const Stack*, std::string> stacks_;
  std::map<std::string, std::size_t> numbers_;
  std::vector<std::string> names_;
};

// A list of JSON, element by element.
class List {
 public:
  List(std::string& out, const std::function<void(std::string_view)>& sink)
      : out_(out), sink_(sink) {}

  void add(std::string_view element) {
    out_ += is_first_ ? "" : ",";
    is_first_ = false;
    out_ += element;
    if (out_.size() >= piece_bytes) {
      sink_(out_);
      out_.clear();
    }
  }

 private:
  std::string& out_;
  const std::function<void(std::string_view)>& sink_;
  bool is_first_ = true;
};

// Calls what(stack, ns), a null stack where the vCPU was not looked at; returns when the first one
// begins and the last one ends.
template <typename What>
std::pair<std::uint64_t, std::uint64_t> each_stretch(std::span<const TimedSample> samples,
                                                     std::uint64_t period_ns, What what) {
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;
  for (const TimedSample& sample : samples) {
    const std::uint64_t length = std::min(sample.time_ns, sample.ticks * period_ns);
    std::uint64_t from = std::max(end_ns, sample.time_ns - length);
    if (end_ns == 0) {
      start_ns = end_ns = from;
    }
    if (from - end_ns < period_ns / 2) {
      from = end_ns; // it only came late
    }
    if (from > end_ns) {
      what(nullptr, from - end_ns);
    }
    what(sample.stack, std::max(sample.time_ns, from) - from);
    end_ns = std::max(sample.time_ns, from);
  }
  return {start_ns, end_ns};
}

} // namespace

bool is_timed_profile(std::string_view path) {
  return path.ends_with(".json");
}

void write_timed_profile(std::span<const SampleSeries> vcpus, std::uint64_t period_ns,
                         const FunctionNames& name_of,
                         const std::function<void(std::string_view)>& sink) {
  FrameTable frames(name_of);
  std::string out;
  append_text(out,
              R"({{"$schema":"https://www.speedscope.app/file-format-schema.json",)"
              R"("exporter":"ebb {}","name":"guest","ebbPeriodNs":{},"profiles":[)",
              version, period_ns);
  for (std::size_t vcpu = 0; vcpu < vcpus.size(); ++vcpu) {
    const auto samples = vcpus[vcpu].all();
    append_text(out, R"({}{{"type":"sampled","name":"vcpu {}","unit":"nanoseconds","samples":[)",
                vcpu == 0 ? "" : ",", vcpu);
    List stacks(out, sink);
    const auto [start, end] =
        each_stretch(samples, period_ns, [&](const Stack* stack, std::uint64_t /*ns*/) {
          stacks.add(stack == nullptr ? "[]" : std::string_view(frames.numbers_of(*stack)));
        });
    out += R"(],"weights":[)";
    List weights(out, sink);
    each_stretch(samples, period_ns, [&](const Stack* /*stack*/, std::uint64_t ns) {
      weights.add(std::to_string(ns));
    });
    append_text(out, R"(],"startValue":{},"endValue":{}}})", start, end);
  }
  out += R"(],"shared":{"frames":[)";
  List names(out, sink);
  for (const std::string& name : frames.names()) {
    names.add(Json{{"name", name}}.line());
  }
  out += "]}}\n";
  sink(out);
}

} // namespace vmm
