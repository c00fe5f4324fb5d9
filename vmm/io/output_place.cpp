// SPDX-License-Identifier: MIT
#include "vmm/io/output_place.hpp"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "vmm/io/file.hpp"

namespace vmm {
namespace {

constexpr unsigned max_links = 40; // as Linux follows

struct FreeText {
  void operator()(char* text) const { ::free(text); }
};

// The descriptor that `name` stands for in `folder`, if that lists this process's descriptors.
std::optional<int> own_descriptor(std::string_view folder, std::string_view name) {
  const std::string process = "/proc/" + std::to_string(::getpid());
  const bool is_list = folder == process + "/fd" ||
                       (folder.starts_with(process + "/task/") && folder.ends_with("/fd"));
  int number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool is_number = error == std::errc{} && end == name.data() + name.size() && number >= 0;
  return is_list && is_number ? std::optional(number) : std::nullopt;
}

} // namespace

Result<OutputPlace> find_output_place(const std::string& option, const std::string& path) {
  const auto refuse = [&](int error) {
    return user_error("{} {}: cannot be written: {}", option, path, errno_text(error));
  };
  if (path == "-") {
    return OutputPlace{.folder = {}, .name = {}, .descriptor = STDOUT_FILENO};
  }
  std::string rest = path;
  for (unsigned links = 0; links <= max_links; ++links) {
    OutputPlace place;
    place.name = rest.substr(rest.rfind('/') + 1);
    if (place.name.empty()) {
      return refuse(rest.empty() ? ENOENT : EISDIR);
    }
    const std::unique_ptr<char, FreeText> folder(::realpath(folder_of(rest).c_str(), nullptr));
    if (!folder) {
      return refuse(errno);
    }
    place.folder = folder.get();
    place.descriptor = own_descriptor(place.folder, place.name);
    std::array<char, PATH_MAX> target{};
    const ssize_t length = ::readlink(place.path().c_str(), target.data(), target.size());
    // Links of /proc are no text to follow.
    if (length < 0 || place.descriptor || place.folder.starts_with("/proc/")) {
      return place;
    }
    const std::string_view text(target.data(), static_cast<std::size_t>(length));
    rest = text.starts_with('/') ? std::string(text) : place.folder + "/" + std::string(text);
  }
  return refuse(ELOOP);
}

bool keeps_what_is_written(int fd) {
  return ::pwrite(fd, "", 0, 0) == 0;
}

} // namespace vmm
