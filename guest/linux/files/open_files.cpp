// SPDX-License-Identifier: MIT
#include "guest/linux/files/open_files.hpp"

#include <fcntl.h>

#include <cerrno>

namespace guest::linux {

bool OpenFile::may_read() const {
  return (open_flags & O_ACCMODE) != O_WRONLY && (open_flags & O_PATH) == 0;
}

bool OpenFile::may_write() const {
  return (open_flags & O_ACCMODE) != O_RDONLY && (open_flags & O_PATH) == 0;
}

OpenFiles::~OpenFiles() {
  for (std::size_t index = 0; index < slots_.size(); ++index) {
    static_cast<void>(remove(index));
  }
}

Or<std::uint64_t> OpenFiles::free_slot(std::uint64_t lowest) const {
  std::uint64_t index = std::max(lowest, first_free_);
  while (index < slots_.size() && slots_[index].file != nullptr) {
    ++index;
  }
  return index < limit_ ? Or<std::uint64_t>(index) : std::unexpected(EMFILE);
}

Or<int> OpenFiles::add(std::shared_ptr<OpenFile> file, int lowest) {
  const Or<std::uint64_t> slot = free_slot(static_cast<std::uint64_t>(lowest));
  if (!slot) {
    return std::unexpected(slot.error());
  }
  if (*slot >= slots_.size()) {
    slots_.resize(*slot + 1);
  }
  ++file->descriptors;
  slots_[*slot] = {std::move(file), false};
  first_free_ = static_cast<std::uint64_t>(lowest) <= first_free_ ? *slot + 1 : first_free_;
  return static_cast<int>(*slot);
}

OpenFile* OpenFiles::get(std::uint64_t descriptor) const {
  return descriptor < slots_.size() ? slots_[descriptor].file.get() : nullptr;
}

std::shared_ptr<OpenFile> OpenFiles::share(std::uint64_t descriptor) const {
  return descriptor < slots_.size() ? slots_[descriptor].file : nullptr;
}

Or<int> OpenFiles::duplicate(std::uint64_t descriptor, std::uint64_t lowest) {
  const std::shared_ptr<OpenFile> file = share(descriptor);
  if (file == nullptr) {
    return std::unexpected(EBADF);
  }
  if (lowest >= limit_) {
    return std::unexpected(EINVAL);
  }
  return add(file, static_cast<int>(lowest));
}

int OpenFiles::remove(std::uint64_t descriptor) {
  const std::shared_ptr<OpenFile> file = share(descriptor);
  if (file == nullptr) {
    return EBADF;
  }
  slots_[descriptor] = {};
  first_free_ = std::min(first_free_, descriptor);
  if (--file->descriptors != 0) {
    return 0;
  }
  return file->file->write_out();
}

void OpenFiles::share_all(const OpenFiles& others) {
  slots_ = others.slots_;
  first_free_ = others.first_free_;
  limit_ = others.limit_;
  for (const Slot& slot : slots_) {
    if (slot.file != nullptr) {
      ++slot.file->descriptors;
    }
  }
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
