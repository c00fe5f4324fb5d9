// SPDX-License-Identifier: MIT
#include "vmm/record/trace_target.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "vmm/io/output_place.hpp"

namespace vmm {
namespace {

bool has_no_fallocate(int error) {
  return error == EOPNOTSUPP || error == ENOSYS;
}

bool is_standard_stream(const struct stat& file) {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    struct stat stream {};
    if (::fstat(fd, &stream) == 0 && stream.st_dev == file.st_dev && stream.st_ino == file.st_ino) {
      return true;
    }
  }
  return false;
}

} // namespace

Result<TraceTarget> TraceTarget::open(const std::string& path) {
  EBB_TRY_ASSIGN(place, find_output_place("--trace", path));
  TraceTarget target("--trace " + path);
  struct stat status {};
  if (path != "-" && ::stat(path.c_str(), &status) != 0 && errno == ENOENT && !place.descriptor) {
    EBB_TRY_ASSIGN(made, NewFile::create("--trace", path, place));
    target.new_file_.emplace(std::move(made));
  } else {
    EBB_TRY(target.take_existing(path));
  }
  EBB_TRY(target.lock());
  return target;
}

Result<void> TraceTarget::take_existing(const std::string& path) {
  if (path == "-") {
    return user_error("{}: a trace is written in place, not to standard output; name a file",
                      name_);
  }
  fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd_.valid()) {
    return user_error("{}: cannot be written: {}", name_, errno_text(errno));
  }
  return check_existing();
}

Result<TraceTarget> TraceTarget::take(UniqueFd fd, std::string name, const TraceTarget* recorded) {
  TraceTarget target(std::move(name));
  target.fd_ = std::move(fd);
  EBB_TRY(target.check_existing());
  if (recorded != nullptr && target.is_same_file(*recorded)) {
    return user_error("{}: is what is being recorded; name another file", target.name_);
  }
  EBB_TRY(target.lock());
  return target;
}

Result<void> TraceTarget::check_existing() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) {
    return user_error("{}: cannot be written: {}", name_, errno_text(errno));
  }
  if ((::fcntl(fd_.get(), F_GETFL) & O_ACCMODE) != O_RDWR) { // of one that was handed over
    return user_error("{}: was not opened for reading and writing", name_);
  }
  if (!S_ISREG(status.st_mode)) {
    return user_error("{}: not a regular file; a trace is written in place", name_);
  }
  if (is_standard_stream(status)) {
    return user_error("{}: is standard input or output; a trace takes a file of its own", name_);
  }
  std::uint64_t magic = 0;
  if (!keeps_what_is_written(fd_.get())) {
    return user_error("{}: not a file that keeps what is written; a trace is written in place",
                      name_);
  }
  if (status.st_size != 0 &&
      (::pread(fd_.get(), &magic, sizeof magic, 0) != sizeof magic || magic != abi::trace_magic)) {
    return user_error("{}: exists and is no trace; remove it or name another file", name_);
  }
  old_bytes_ = static_cast<std::uint64_t>(status.st_size);
  return {};
}

bool TraceTarget::is_same_file(const TraceTarget& other) const {
  struct stat mine {};
  struct stat others {};
  return ::fstat(fd(), &mine) == 0 && ::fstat(other.fd(), &others) == 0 &&
         mine.st_dev == others.st_dev && mine.st_ino == others.st_ino;
}

// Where there are no locks, two writers are the user's to avoid.
Result<void> TraceTarget::lock() const {
  if (::flock(fd(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return user_error("{}: another process is writing it", name_);
  }
  return {};
}

Result<TraceTarget> TraceTarget::unnamed() {
  TraceTarget target("--step");
  target.fd_ = UniqueFd(::memfd_create("ebb-step", MFD_CLOEXEC));
  if (!target.fd_.valid()) {
    return system_error("cannot make a file for the stepper's trace");
  }
  return target;
}

TraceTarget::~TraceTarget() {
  if (fd_.valid() && reserved_ && !begun_) { // not moved from
    static_cast<void>(cut_to(old_bytes_));   // without the room behind it
  }
}

Result<void> TraceTarget::reserve(std::uint64_t bytes) {
  // KEEP_SIZE asks for blocks only; what a file may grow to is another matter.
  rlimit longest{};
  if (::getrlimit(RLIMIT_FSIZE, &longest) == 0 && longest.rlim_cur < bytes) {
    return user_error("{}: no room for {} MiB: {}", name_, bytes >> 20, errno_text(EFBIG));
  }
  reserved_ = true;
  if (::fallocate(fd(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0 &&
      !has_no_fallocate(errno)) {
    return user_error("{}: no room for {} MiB: {}", name_, bytes >> 20, errno_text(errno));
  }
  return {};
}

Result<void> TraceTarget::begin(const abi::TraceHeader& header, std::uint64_t bytes) {
  begun_ = true;
  const auto failed = [this](int error) {
    return environment_error("{}: cannot be written: {}", name_, errno_text(error));
  };
  if (old_bytes_ != 0 && !cut_to(0)) {
    return failed(errno);
  }
  // From here on the file is a trace at any moment that a kill may come.
  if (const ssize_t written = ::pwrite(fd(), &header, sizeof header, 0); written != sizeof header) {
    return failed(written < 0 ? errno : ENOSPC);
  }
  if (const int error = grow(0, bytes); error != 0) {
    return failed(error);
  }
  return publish();
}

Result<void> TraceTarget::publish() {
  if (new_file_ && !std::exchange(published_, true)) {
    if (const int error = new_file_->publish(NewFile::Occupied::refuse); error != 0) {
      return environment_error("{}: cannot be written: {}", name_, errno_text(error));
    }
  }
  return {};
}

int TraceTarget::grow(std::uint64_t from, std::uint64_t to) const {
  if (::fallocate(fd(), 0, static_cast<off_t>(from), static_cast<off_t>(to - from)) == 0) {
    return 0;
  }
  // File systems without it get a sparse file.
  return has_no_fallocate(errno) && ::ftruncate(fd(), static_cast<off_t>(to)) == 0 ? 0 : errno;
}

bool TraceTarget::is_shorter_than(std::uint64_t bytes) const {
  struct stat status {};
  return ::fstat(fd(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) < bytes;
}

bool TraceTarget::cut_to(std::uint64_t bytes) const {
  return ::ftruncate(fd(), static_cast<off_t>(bytes)) == 0;
}

} // namespace vmm
