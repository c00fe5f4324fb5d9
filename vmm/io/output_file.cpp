// SPDX-License-Identifier: MIT
#include "vmm/io/output_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "vmm/io/write_all.hpp"

namespace vmm {
namespace {

constexpr std::size_t copied_bytes = std::size_t{64} << 10;

// 0 or an errno.
int write_all_at(int fd, std::span<const char> bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno != EINTR) {
      return errno;
    }
    bytes = bytes.subspan(written > 0 ? static_cast<std::size_t>(written) : 0);
    offset += std::max<ssize_t>(written, 0);
  }
  return 0;
}

// Bytes [start, end) of one file into another.
int copy(int from, int to, off_t start, off_t end) {
  std::array<char, copied_bytes> piece{};
  while (start < end) {
    const auto wanted = std::min<std::size_t>(piece.size(), static_cast<std::size_t>(end - start));
    const ssize_t got = ::pread(from, piece.data(), wanted, start);
    if (got <= 0 && errno != EINTR) {
      return got == 0 ? EIO : errno;
    }
    const auto count = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    if (const int error = write_all_at(to, std::span(piece).first(count), start); error != 0) {
      return error;
    }
    start += static_cast<off_t>(count);
  }
  return 0;
}

// A duplicate of `fd` if that can be written to.
UniqueFd duplicate_writable(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
    errno = EBADF;
    return {};
  }
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

// The standard stream that writes to the same regular file.
std::optional<int> standard_stream_of(const struct stat& file) {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat stream {};
    if (::fstat(fd, &stream) == 0 && stream.st_dev == file.st_dev && stream.st_ino == file.st_ino &&
        (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY) {
      return fd;
    }
  }
  return std::nullopt;
}

} // namespace

std::unexpected<Error> OutputFile::cannot_write(int error) const {
  return environment_error("{} {}: cannot be written: {}", option_, path_, errno_text(error));
}

Result<OutputFile> OutputFile::open(const std::string& option, const std::string& path) {
  OutputFile file(option, path);
  const auto refuse = [&](int error) {
    return user_error("{} {}: cannot be written: {}", option, path, errno_text(error));
  };
  EBB_TRY_ASSIGN(place, find_output_place(option, path));
  struct stat status {};
  if (!place.descriptor) {
    if (::stat(path.c_str(), &status) != 0) {
      if (errno != ENOENT) {
        return refuse(errno);
      }
      EBB_TRY_ASSIGN(made, NewFile::create(option, path, place));
      file.new_file_.emplace(std::move(made));
      return file;
    }
    place.descriptor = S_ISREG(status.st_mode) ? standard_stream_of(status) : std::nullopt;
  }
  if (place.descriptor) {
    file.target_ = duplicate_writable(*place.descriptor);
    return file.target_.valid() ? Result<OutputFile>(std::move(file)) : refuse(errno);
  }
  file.target_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.target_.valid() || ::fstat(file.target_.get(), &status) != 0) {
    return refuse(errno);
  }
  if (S_ISREG(status.st_mode)) {
    if (!keeps_what_is_written(file.target_.get())) {
      return user_error("{} {}: not a file that keeps what is written", option, path);
    }
    // Kept: nobody shall begin a trace where this goes.
    if (::flock(file.target_.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return user_error("{} {}: another process is writing it", option, path);
    }
    file.spool_ = open_spool(place.folder);
    if (!file.spool_.valid()) {
      return refuse(errno);
    }
  }
  return file;
}

// Without a name, and on the target's own file system if that lets us.
UniqueFd OutputFile::open_spool(const std::string& folder) {
  UniqueFd spool(
      ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, S_IRUSR | S_IWUSR));
  return spool.valid() ? std::move(spool) : UniqueFd(::memfd_create("ebb-output", MFD_CLOEXEC));
}

std::optional<std::string> OutputFile::folder() const {
  return new_file_ ? std::optional(new_file_->folder()) : std::nullopt;
}

int OutputFile::content_fd() const {
  if (new_file_) {
    return new_file_->fd();
  }
  return spool_.valid() ? spool_.get() : target_.get();
}

Result<void> OutputFile::append(std::string_view text) {
  const int error = write_all(content_fd(), text);
  return error == 0 ? Result<void>{} : cannot_write(error);
}

Result<void> OutputFile::finish() {
  int error = 0;
  if (new_file_) {
    error = new_file_->publish(NewFile::Occupied::replace);
  } else if (spool_.valid()) {
    error = overwrite();
  }
  return error == 0 ? Result<void>{} : cannot_write(error);
}

Result<void> OutputFile::write(std::string_view text) {
  EBB_TRY(append(text));
  return finish();
}

// What the file grows by is written first: without room for it, all is as it was.
int OutputFile::overwrite() const {
  struct stat before {};
  struct stat content {};
  if (::fstat(target_.get(), &before) != 0 || ::fstat(spool_.get(), &content) != 0) {
    return errno;
  }
  if (before.st_nlink == 0) {
    return ENOENT; // removed meanwhile; nobody would find it
  }
  if (const int error = copy(spool_.get(), target_.get(), before.st_size, content.st_size);
      error != 0) {
    // Cutting off what has just been added takes no room.
    [[maybe_unused]] const int cut = ::ftruncate(target_.get(), before.st_size);
    return error;
  }
  if (const int error =
          copy(spool_.get(), target_.get(), 0, std::min(before.st_size, content.st_size));
      error != 0) {
    return error;
  }
  return ::ftruncate(target_.get(), content.st_size) == 0 ? 0 : errno;
}

} // namespace vmm
