// SPDX-License-Identifier: MIT
#include "tools/hvtrace/profile_file.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "vmm/io/mapped_file.hpp"

namespace hvtrace {
namespace {

using nlohmann::json;

// What is there under a name, of the kind that it should be of; null otherwise.
const json* part(const json& whole, const char* name, bool (json::*is)() const noexcept) {
  const auto found = whole.find(name);
  return found != whole.end() && (*found.*is)() ? &*found : nullptr;
}

class Reader {
 public:
  // Why not, in a few words; empty: it has all been taken.
  std::string take(const json& whole) {
    const json* const shared = part(whole, "shared", &json::is_object);
    const json* const frames =
        shared != nullptr ? part(*shared, "frames", &json::is_array) : nullptr;
    const json* const profiles = part(whole, "profiles", &json::is_array);
    const json* const period = part(whole, "ebbPeriodNs", &json::is_number_unsigned);
    if (frames == nullptr || profiles == nullptr || period == nullptr ||
        period->get<std::uint64_t>() == 0) {
      return "no profile that vmm --profile-out FILE.json has written";
    }
    period_ns_ = period->get<std::uint64_t>();
    for (const json& frame : *frames) {
      const json* const name = part(frame, "name", &json::is_string);
      if (name == nullptr) {
        return "a frame has no name";
      }
      samples_.frames.push_back(name->get<std::string>());
    }
    for (const json& profile : *profiles) {
      if (std::string bad = take_vcpu(profile); !bad.empty()) {
        return bad;
      }
    }
    return {};
  }
  ProfileSamples&& samples() { return std::move(samples_); }

 private:
  std::string take_vcpu(const json& profile) {
    const json* const stacks = part(profile, "samples", &json::is_array);
    const json* const weights = part(profile, "weights", &json::is_array);
    const json* const start = part(profile, "startValue", &json::is_number_unsigned);
    const json* const unit = part(profile, "unit", &json::is_string);
    if (stacks == nullptr || weights == nullptr || start == nullptr || unit == nullptr ||
        *unit != "nanoseconds" || stacks->size() != weights->size()) {
      return "a vCPU's samples have no times";
    }
    auto& vcpu = samples_.vcpus.emplace_back();
    std::uint64_t begin_ns = start->get<std::uint64_t>();
    for (std::size_t index = 0; index < stacks->size(); ++index) {
      const json& weight = (*weights)[index];
      const auto stack = (*stacks)[index].is_array() ? number_of((*stacks)[index]) : none;
      if (stack == none || !weight.is_number_unsigned() ||
          weight.get<std::uint64_t>() > ~std::uint64_t{0} / 2 - begin_ns / 2) {
        return "a sample is none";
      }
      const auto length_ns = weight.get<std::uint64_t>();
      if (stack != nowhere) {
        const std::uint64_t times = std::max<std::uint64_t>(
            1, length_ns / period_ns_ + (length_ns % period_ns_ > period_ns_ / 2 ? 1 : 0));
        if (times > most_profile_samples - count_) {
          return "more samples than there can be";
        }
        count_ += static_cast<std::size_t>(times);
        for (std::uint64_t left = times; left-- > 0;) {
          const std::uint64_t before_end = left * period_ns_;
          vcpu.push_back({begin_ns + (length_ns - std::min(length_ns, before_end)), stack});
        }
      }
      begin_ns += length_ns;
    }
    return {};
  }

  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr std::size_t nowhere = none - 1; // an empty stack

  std::size_t number_of(const json& stack) {
    std::vector<std::size_t> frames;
    for (const json& frame : stack) {
      if (!frame.is_number_unsigned() || frame.get<std::uint64_t>() >= samples_.frames.size()) {
        return none;
      }
      frames.push_back(frame.get<std::size_t>());
    }
    if (frames.empty()) {
      return nowhere;
    }
    const auto [known, is_new] = stacks_.try_emplace(std::move(frames), samples_.stacks.size());
    if (is_new) {
      samples_.stacks.push_back(known->first);
    }
    return known->second;
  }

  ProfileSamples samples_;
  std::map<std::vector<std::size_t>, std::size_t> stacks_;
  std::uint64_t period_ns_ = 1;
  std::size_t count_ = 0;
};

} // namespace

vmm::Result<ProfileSamples> parse_profile(std::string_view text, const std::string& name) {
  const json whole = json::parse(text, nullptr, false);
  Reader reader;
  if (whole.is_discarded()) {
    return vmm::user_error("{}: no JSON", name);
  }
  if (const std::string bad = reader.take(whole); !bad.empty()) {
    return vmm::user_error("{}: {}", name, bad);
  }
  return reader.samples();
}

vmm::Result<ProfileSamples> read_profile(const std::string& path) {
  EBB_TRY_ASSIGN(file, vmm::MappedFile::open(path, most_profile_bytes));
  const auto bytes = file.bytes();
  auto samples = parse_profile({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (file.torn()) {
    return vmm::user_error("{}: was made shorter while it was read", path);
  }
  return samples;
}

} // namespace hvtrace
