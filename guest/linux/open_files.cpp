// SPDX-License-Identifier: MIT
#include "guest/linux/open_files.hpp"

#include <cerrno>

namespace guest::linux {

OpenFiles::~OpenFiles() {
  for (std::size_t index = 0; index < slots_.size(); ++index) {
    if (slots_[index].file != nullptr) {
      delete *remove(index);
    }
  }
}

Or<int> OpenFiles::add(OpenFile* file, int lowest) {
  auto index = static_cast<std::size_t>(lowest);
  while (index < slots_.size() && slots_[index].file != nullptr) {
    ++index;
  }
  if (index >= max_descriptors) {
    return std::unexpected(EMFILE);
  }
  if (index >= slots_.size()) {
    slots_.resize(index + 1);
  }
  slots_[index] = {file, false};
  ++file->descriptors;
  return static_cast<int>(index);
}

OpenFile* OpenFiles::get(std::uint64_t descriptor) const {
  return descriptor < slots_.size() ? slots_[descriptor].file : nullptr;
}

Or<int> OpenFiles::duplicate(std::uint64_t descriptor, std::uint64_t lowest) {
  OpenFile* const file = get(descriptor);
  if (file == nullptr) {
    return std::unexpected(EBADF);
  }
  if (lowest >= max_descriptors) {
    return std::unexpected(EINVAL);
  }
  return add(file, static_cast<int>(lowest));
}

Or<OpenFile*> OpenFiles::remove(std::uint64_t descriptor) {
  OpenFile* const file = get(descriptor);
  if (file == nullptr) {
    return std::unexpected(EBADF);
  }
  slots_[descriptor] = {};
  return --file->descriptors == 0 ? file : nullptr;
}

bool OpenFiles::closes_on_exec(std::uint64_t descriptor) const {
  return get(descriptor) != nullptr && slots_[descriptor].close_on_exec;
}

void OpenFiles::set_close_on_exec(std::uint64_t descriptor, bool closes) {
  if (get(descriptor) != nullptr) {
    slots_[descriptor].close_on_exec = closes;
  }
}

} // namespace guest::linux
