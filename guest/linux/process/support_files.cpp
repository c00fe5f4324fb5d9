// SPDX-License-Identifier: MIT
// How calls reach files, and write to them.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "guest/linux/files/place_file.hpp"
#include "guest/linux/process/call_support.hpp"
#include "guest/linux/sockets/socket.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t only_at_open =
    std::uint64_t{O_CREAT} | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

PipeAccess pipe_access(std::uint64_t flags) {
  return (flags & O_ACCMODE) == O_RDONLY   ? PipeAccess::read
         : (flags & O_ACCMODE) == O_WRONLY ? PipeAccess::write
                                           : PipeAccess::both;
}

} // namespace

OpenFile* CallSupport::held_file_at(std::uint64_t descriptor) {
  std::shared_ptr<OpenFile> file = self().files.share(descriptor & 0xffffffff);
  OpenFile* const held = file.get();
  if (file != nullptr) {
    scheduler_.running().held.push_back(std::move(file));
  }
  return held;
}

// ---- paths -------------------------------------------------------------------------------------

Or<CallSupport::Place> CallSupport::walk(std::uint64_t directory, std::string_view path,
                                         Last last) {
  if (path.starts_with('/') || static_cast<std::int32_t>(directory) == AT_FDCWD) {
    return tree_.walk(view(self().directory), path, last);
  }
  const OpenFile* const file = file_at(directory);
  if (file == nullptr) {
    return std::unexpected(EBADF);
  }
  if (!file->file->is_folder()) {
    return std::unexpected(ENOTDIR);
  }
  return tree_.walk(view(file->path) == "/" ? std::string_view{} : view(file->path), path, last);
}

Or<CallSupport::Place> CallSupport::place_at(std::uint64_t directory, std::uint64_t path,
                                             Last last) {
  const Or<std::string_view> text = user_.path_at(path);
  return text ? walk(directory, *text, last) : Or<Place>(std::unexpected(text.error()));
}

Or<File*> CallSupport::open_place(const Place& place, std::uint64_t flags, std::uint32_t mode) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const std::uint32_t rights = mode & 07777U & ~self().umask;
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    if (!place.stat || !S_ISDIR(place.stat->mode) || !writes) {
      return std::unexpected(!place.stat ? place.stat.error() : writes ? ENOTDIR : EINVAL);
    }
    return place.system->create_unnamed(place.inner(), rights);
  }
  if (!place.stat) {
    if (place.stat.error() != ENOENT || (flags & O_CREAT) == 0) {
      return std::unexpected(place.stat.error());
    }
    return place.system->create(place.inner(), rights);
  }
  const bool folder = S_ISDIR(place.stat->mode);
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return std::unexpected(EEXIST);
  }
  if (S_ISLNK(place.stat->mode)) {
    if ((flags & O_PATH) != 0 && (flags & O_DIRECTORY) == 0) {
      return new PlaceFile(*place.stat);
    }
    return std::unexpected((flags & O_DIRECTORY) != 0 ? ENOTDIR : ELOOP);
  }
  if ((flags & O_DIRECTORY) != 0 && !folder) {
    return std::unexpected(ENOTDIR);
  }
  if (folder) {
    return writes || (flags & O_CREAT) != 0 ? Or<File*>(std::unexpected(EISDIR))
                                            : tree_.open_folder(place);
  }
  if (S_ISFIFO(place.stat->mode) && (flags & O_PATH) == 0) {
    return place.system->open_pipe(place.inner(), pipe_access(flags));
  }
  const bool cuts = (flags & O_TRUNC) != 0 && S_ISREG(place.stat->mode);
  const Or<File*> file = place.system->open(
      place.inner(), writes || cuts ? FileAccess::write : FileAccess::read, *place.stat);
  if (file && cuts) {
    if (const int error = (*file)->truncate(0); error != 0) {
      delete *file;
      return std::unexpected(error);
    }
  }
  return file;
}

// ---- descriptors -------------------------------------------------------------------------------

// Who opens a pipe by its name waits for the other end, in vain if it is not to wait and to write.
Answer CallSupport::meet_other_end(const OpenFile& pipe) {
  const bool waits = (pipe.open_flags & O_NONBLOCK) == 0;
  if (waits) {
    return wait_for_stream(pipe, file_met, wait_for_ever);
  }
  return pipe.may_read() || pipe.file->ready_for(file_met).value_or(0) != 0 ? 0 : -ENXIO;
}

Answer CallSupport::add_file(File* file, std::uint64_t flags, Text path) {
  const auto kept = static_cast<std::uint32_t>(flags & ~only_at_open);
  std::shared_ptr<OpenFile> open = std::make_unique<OpenFile>(file, kept, std::move(path));
  const bool is_named_pipe = !open->path.empty() && file->capacity();
  if (const Answer failed = is_named_pipe ? meet_other_end(*open) : 0; failed != 0) {
    return failed;
  }
  const Or<int> descriptor = self().files.add(std::move(open));
  if (descriptor) {
    self().files.set_close_on_exec(static_cast<std::uint64_t>(*descriptor),
                                   (flags & O_CLOEXEC) != 0);
  }
  return answer_of(descriptor);
}

Answer CallSupport::add_two(File* one, File* other, std::uint64_t flags, std::uint64_t other_flags,
                            std::uint64_t address) {
  const Answer first = add_file(one, flags, {});
  const Answer second = add_file(other, other_flags, {});
  const std::array<std::int32_t, 2> numbers{static_cast<std::int32_t>(first),
                                            static_cast<std::int32_t>(second)};
  if (first >= 0 && second >= 0 && user_.store(address, numbers)) {
    return 0;
  }
  for (const Answer made : {first, second}) {
    if (made >= 0) {
      static_cast<void>(self().files.remove(static_cast<std::uint64_t>(made)));
    }
  }
  return first < 0 || second < 0 ? -EMFILE : -EFAULT;
}

// ---- writing -----------------------------------------------------------------------------------

bool CallSupport::are_there(std::span<const std::byte> bytes, BytesOf whose) const {
  return whose == BytesOf::kernel ||
         user_.may_read(reinterpret_cast<std::uint64_t>(bytes.data()), bytes.size());
}

// What is appended goes to the end even with an offset, as Linux does it.
Answer CallSupport::write_bytes(OpenFile& file, std::span<const std::byte> from, Offset offset,
                                BytesOf whose) {
  Or<std::uint64_t> put = 0;
  if ((file.open_flags & O_APPEND) != 0 && !file.file->is_stream()) {
    std::uint64_t end = 0;
    put = file.file->append(from, end);
    file.position = put && !offset ? end : file.position;
  } else if (file.file->is_stream()) {
    return write_stream(file, from, whose);
  } else {
    put = file.file->write(offset.value_or(file.position), from);
    file.position += put && !offset ? *put : 0;
  }
  const bool syncs = put && *put != 0 && (file.open_flags & (O_SYNC | O_DSYNC)) != 0;
  if (const int error = syncs ? file.file->sync() : 0; error != 0) {
    return -Answer{error};
  }
  return answer_of(put);
}

// All of it, unless the file is not to be waited for, or a signal comes.
Answer CallSupport::write_stream(const OpenFile& file, std::span<const std::byte> from,
                                 BytesOf whose) {
  std::uint64_t done = 0;
  for (;;) {
    const Or<std::uint64_t> put = file.file->write(0, from.subspan(done));
    if (!put) {
      signal_failed_write(file, put.error());
    }
    done += put.value_or(0);
    const bool blocked = put ? done < from.size() : put.error() == EAGAIN;
    if (!blocked || (file.open_flags & O_NONBLOCK) != 0) {
      return done != 0 ? static_cast<Answer>(done) : answer_of(put);
    }
    if (const Answer failed = wait_for_stream(file, abi::file_writable, wait_for_ever);
        failed != 0) {
      return done != 0 ? static_cast<Answer>(done) : failed;
    }
    if (!are_there(from.subspan(done), whose)) {
      return done != 0 ? static_cast<Answer>(done) : -EFAULT;
    }
  }
}

// EFBIG of a stream: whoever started the vmm has set a limit.
void CallSupport::signal_failed_write(const OpenFile& to, int error) {
  const Socket* const socket = to.file->socket();
  if (socket != nullptr && socket->kind() != Socket::Kind::stream) {
    return;
  }
  if (error == EPIPE || error == EFBIG) {
    const std::uint64_t signal = error == EPIPE ? SIGPIPE : SIGXFSZ;
    send(scheduler_.running(), cause_of(signal, SI_USER));
  }
}

} // namespace guest::linux
