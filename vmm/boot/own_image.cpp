// SPDX-License-Identifier: MIT
#include "vmm/boot/own_image.hpp"

#include <system_error>

namespace vmm {
namespace {

bool is_there(const std::filesystem::path& path) {
  std::error_code why_not;
  return std::filesystem::exists(path, why_not);
}

} // namespace

std::filesystem::path own_folder() {
  std::error_code why_not;
  return std::filesystem::read_symlink("/proc/self/exe", why_not).parent_path();
}

Result<std::string> find_image(const std::string& image, const std::filesystem::path& own) {
  if (image.empty()) {
    const std::filesystem::path ours = own / "guest.bin";
    if (!is_there(ours)) {
      return user_error("no guest image given, and {} is not there; start as in: vmm guest.bin",
                        ours.string());
    }
    return ours.string();
  }
  const bool is_name = image.find('/') == std::string::npos;
  if (is_name && !is_there(image) && is_there(own / image)) {
    return (own / image).string();
  }
  return image;
}

} // namespace vmm
