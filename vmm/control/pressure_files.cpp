// SPDX-License-Identifier: MIT
#include "vmm/control/pressure_files.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ranges>
#include <utility>

#include "vmm/base/units.hpp"
#include "vmm/io/file.hpp"

namespace vmm {
namespace {

constexpr std::size_t most_text = std::size_t{1} << 20;
// Some task has waited for memory for a tenth of two seconds: what whoever has no privileges may
// ask for, too (Linux 6.3).
constexpr std::string_view trigger = "some 200000 2000000";

std::string content(const char* path) {
  const auto bytes = read_file(path, most_text);
  // Justified: bytes as text.
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())
               : std::string();
}

// errno of why not is kept.
UniqueFd open_trigger(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  // With its final zero, as the kernel wants it.
  if (fd.valid() && ::write(fd.get(), trigger.data(), trigger.size() + 1) < 0) {
    return {};
  }
  return fd;
}

std::vector<std::string_view> parts(std::string_view text, char mark) {
  std::vector<std::string_view> found;
  for (const auto part : text | std::views::split(mark)) {
    found.emplace_back(part.begin(), part.end());
  }
  return found;
}

} // namespace

PressureFile::News PressureFile::take(short happened) {
  if (kind == Kind::trigger && (happened & POLLERR) != 0) {
    return News::gone;
  }
  if ((happened & news) == 0) {
    return happened == 0 ? News::none : News::gone;
  }
  if (kind == Kind::trigger) {
    return News::pressure;
  }
  std::array<char, 1024> text{};
  const ssize_t size = ::pread(fd.get(), text.data(), text.size(), 0);
  const auto high =
      high_events({text.data(), size > 0 ? static_cast<std::size_t>(size) : std::size_t{0}});
  if (!high) {
    return News::gone;
  }
  return *high > std::exchange(high_seen, *high) ? News::pressure : News::none;
}

std::optional<std::uint64_t> high_events(std::string_view text) {
  constexpr std::string_view name = "high ";
  for (const std::string_view line : parts(text, '\n')) {
    if (line.starts_with(name)) {
      return parse_number(line.substr(name.size()));
    }
  }
  return std::nullopt;
}

std::string own_cgroup(std::string_view cgroup, std::string_view mounts) {
  constexpr std::string_view unified = "0::/";
  std::string_view own;
  for (const std::string_view line : parts(cgroup, '\n')) {
    if (line.starts_with(unified)) {
      own = line.substr(unified.size());
    }
  }
  for (const std::string_view line : parts(mounts, '\n')) {
    const auto fields = parts(line, ' ');
    if (!own.empty() && fields.size() > 2 && fields[2] == "cgroup2") {
      return std::string(fields[1]) + "/" + std::string(own);
    }
  }
  return {};
}

Result<std::vector<PressureFile>> open_pressure_files() {
  std::vector<PressureFile> files;
  UniqueFd host = open_trigger("/proc/pressure/memory");
  const int error = errno;
  if (host.valid()) {
    files.push_back({std::move(host), PressureFile::Kind::trigger, POLLPRI});
  }
  const std::string group = own_cgroup(content("/proc/self/cgroup"), content("/proc/self/mounts"));
  if (!group.empty()) {
    if (UniqueFd own = open_trigger(group + "/memory.pressure"); own.valid()) {
      files.push_back({std::move(own), PressureFile::Kind::trigger, POLLPRI});
    }
    UniqueFd events(::open((group + "/memory.events").c_str(), O_RDONLY | O_CLOEXEC));
    if (events.valid()) {
      files.push_back({std::move(events), PressureFile::Kind::events, POLLPRI});
      static_cast<void>(files.back().take(POLLPRI)); // what was before
    }
  }
  if (files.empty()) {
    return environment_error(
        "this host tells nothing of memory pressure: /proc/pressure/memory: {}", errno_text(error));
  }
  return files;
}

} // namespace vmm
