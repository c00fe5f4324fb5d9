// SPDX-License-Identifier: MIT
#include "vmm/boot/program_start.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string_view>

#include "shared/program_start.hpp"

namespace vmm {
namespace {

constexpr std::string_view usual_path = "/usr/local/bin:/usr/bin:/bin";

std::string_view name_of_variable(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

std::vector<std::string> environment_of(const ProgramRequest& request,
                                        std::span<const char* const> inherited) {
  std::vector<std::string> variables;
  if (request.inherit == ProgramRequest::Inherit::environment) {
    variables.assign(inherited.begin(), inherited.end());
  }
  for (const std::string& added : request.environment) {
    const auto same = std::find_if(variables.begin(), variables.end(), [&](const auto& variable) {
      return name_of_variable(variable) == name_of_variable(added);
    });
    if (same != variables.end()) {
      *same = added;
    } else {
      variables.push_back(added);
    }
  }
  return variables;
}

bool is_program(const std::string& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::access(file.c_str(), X_OK) == 0;
}

std::string find_program(const std::string& name, const std::string& root,
                         const std::vector<std::string>& environment,
                         const std::string& directory) {
  if (name.find('/') != std::string::npos) {
    return name;
  }
  std::string_view path = usual_path;
  for (const std::string& variable : environment) {
    if (variable.starts_with("PATH=")) {
      path = std::string_view(variable).substr(5);
    }
  }
  while (!path.empty()) {
    const std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(path.size(), folder.size() + 1));
    const std::string file = (folder.empty() ? directory : std::string(folder)) + "/" + name;
    if (is_program((root == "/" ? "" : root) + file)) {
      return file;
    }
  }
  return name;
}

std::string directory_of(const ProgramRequest& request, const std::string& current_directory) {
  return request.directory.value_or(request.root_directory() == "/" ? current_directory : "/");
}

// A path of the guest's on the host: below the deepest folder that is bound there, or the root.
std::string path_on_host(const ProgramRequest& request, const std::string& path) {
  const ProgramMount* below = nullptr;
  for (const ProgramMount& mount : request.binds) {
    const std::string folder = mount.guest == "/" ? mount.guest : mount.guest + "/";
    if ((path == mount.guest || path.starts_with(folder)) &&
        (below == nullptr || mount.guest.size() >= below->guest.size())) {
      below = &mount;
    }
  }
  return below == nullptr ? request.root_directory() + "/" + path
                          : below->host + "/" + path.substr(below->guest.size());
}

class Strings {
 public:
  void add(std::string_view text) {
    bytes_ += text;
    bytes_ += '\0';
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

} // namespace

Result<std::vector<std::byte>> program_start(const ProgramRequest& request,
                                             std::span<const char* const> inherited,
                                             const std::string& current_directory,
                                             const Inheritance& inheritance, std::uint64_t watched,
                                             Verbosity verbosity) {
  const std::vector<std::string> environment = environment_of(request, inherited);
  const std::string directory = directory_of(request, current_directory);
  Strings strings;
  strings.add(
      find_program(request.arguments.front(), request.root_directory(), environment, directory));
  strings.add(directory);
  strings.add(request.first_argument.value_or(request.arguments.front()));
  for (const std::string& argument : std::span(request.arguments).subspan(1)) {
    strings.add(argument);
  }
  for (const std::string& variable : environment) {
    strings.add(variable);
  }
  for (const ProgramMount& mount : request.binds) {
    const char use =
        mount.access == MountAccess::read_write ? abi::mount_to_change : abi::mount_to_read;
    strings.add(use + mount.guest);
  }
  if (strings.bytes().size() > abi::max_program_string_bytes) {
    return user_error("-- {}: arguments and environment take {} bytes; must be at most {}",
                      request.arguments.front(), strings.bytes().size(),
                      abi::max_program_string_bytes);
  }
  abi::ProgramStart start;
  start.string_bytes = strings.bytes().size();
  start.arguments = static_cast<std::uint32_t>(request.arguments.size());
  start.environment = static_cast<std::uint32_t>(environment.size());
  start.mounts = request.binds.size();
  start.watched = watched;
  // With --quiet there is only what a shell would say.
  start.missing_directory = request.directory               ? abi::MissingDirectory::fatal
                            : verbosity == Verbosity::quiet ? abi::MissingDirectory::silent
                                                            : abi::MissingDirectory::told;
  start.ignored_signals = inheritance.ignored_signals;
  start.closed_streams = inheritance.closed_streams;
  const auto user = request.user.value_or(ProgramRequest::UserAndGroup{::getuid(), ::getgid()});
  start.user = user.user;
  start.group = user.group;
  timespec now{};
  static_cast<void>(::clock_gettime(CLOCK_REALTIME, &now)); // cannot fail
  start.realtime_ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  start.tsc = __rdtsc();
  std::vector<std::byte> bytes(sizeof start + strings.bytes().size());
  std::memcpy(bytes.data(), &start, sizeof start);
  std::memcpy(bytes.data() + sizeof start, strings.bytes().data(), strings.bytes().size());
  return bytes;
}

std::string program_file(const ProgramRequest& request, std::span<const char* const> inherited,
                         const std::string& current_directory) {
  const std::string directory = directory_of(request, current_directory);
  const std::string found = find_program(request.arguments.front(), request.root_directory(),
                                         environment_of(request, inherited), directory);
  return path_on_host(request, found.starts_with('/') ? found : directory + "/" + found);
}

} // namespace vmm
