// SPDX-License-Identifier: MIT
#include "vmm/io/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "shared/address.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

void MappedFile::Unmap::operator()(std::byte* address) const {
  ::munmap(address, bytes);
}

MappedFile::MappedFile(std::byte* mapping, std::size_t bytes)
    : mapping_(mapping, Unmap{bytes}),
      guard_(std::make_unique<MappingGuard>(
          std::span<const std::byte>(mapping, abi::align_up(bytes, abi::page_bytes)))) {}

Result<MappedFile> MappedFile::open(const std::string& path, std::uint64_t limit_bytes) {
  // O_NONBLOCK: opening a FIFO must fail the check below, not wait for a writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return user_error("{}: cannot open: {}", path, errno_text(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return user_error("{}: not a regular file", path);
  }
  const auto bytes = static_cast<std::size_t>(info.st_size);
  if (bytes == 0) {
    return user_error("{}: the file is empty", path);
  }
  if (bytes > limit_bytes) {
    return user_error("{}: {} bytes is more than the limit of {}", path, bytes, limit_bytes);
  }
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) {
    return user_error("{}: cannot be mapped: {}", path, errno_text(errno));
  }
  return MappedFile(static_cast<std::byte*>(mapped), bytes);
}

void MappedFile::expect_one_pass() const {
  static_cast<void>(::madvise(mapping_.get(), mapping_.get_deleter().bytes, MADV_SEQUENTIAL));
}

void MappedFile::release(std::size_t bytes) const {
  static_cast<void>(
      ::madvise(mapping_.get(), abi::align_down(bytes, abi::page_bytes), MADV_DONTNEED));
}

} // namespace vmm
