// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_files.hpp"

#include <linux/fs.h>
#include <sys/stat.h>

#include <array>
#include <memory>

#include "guest/linux/files/host_file.hpp"

namespace guest::linux {

namespace {

// The host gives and takes no other identity by a file's mode.
constexpr std::uint32_t host_rights = 01777;

} // namespace

Or<std::uint64_t> HostFiles::ask(std::string_view path, abi::FileCall call) {
  call.path_gpa = address_of(path.data());
  call.path_bytes = path.size();
  const abi::FileResult result = port_.perform(call);
  if (result < 0) {
    return std::unexpected(static_cast<int>(-result));
  }
  return static_cast<std::uint64_t>(result);
}

int HostFiles::change(std::string_view path, abi::FileCall call) {
  const Or<std::uint64_t> result = ask(path, call);
  return result ? 0 : result.error();
}

// ---- what is there -----------------------------------------------------------------------------

Or<abi::FileStat> HostFiles::look_up(std::string_view path) {
  const std::uint64_t now_ns = machine_.now_ns();
  if (use_ == Use::read_only) {
    if (const LookUpCache::Entry* const known = cache_.find(path, now_ns)) {
      return with_content(known->stat);
    }
  }
  abi::FileStat is;
  const Or<std::uint64_t> got = ask(path, {.operation = abi::FileOperation::stat_path,
                                           .flags = abi::file_no_follow,
                                           .buffer_gpa = address_of(&is),
                                           .buffer_bytes = sizeof is});
  const Or<abi::FileStat> found = got ? Or<abi::FileStat>(is) : std::unexpected(got.error());
  if (use_ == Use::read_only) {
    cache_.add(path, found, now_ns);
  }
  return with_content(found);
}

Or<abi::FileStat> HostFiles::with_content(const Or<abi::FileStat>& found) {
  HostContent* const content = found && !contents_.is_empty() ? contents_.find(*found) : nullptr;
  return content == nullptr ? found : content->stat();
}

Or<Text> HostFiles::link_text(std::string_view path) {
  LookUpCache::Entry* const known =
      use_ == Use::read_only ? cache_.find(path, machine_.now_ns()) : nullptr;
  if (known != nullptr && known->stat && !S_ISLNK(known->stat->mode)) {
    return std::unexpected(EINVAL);
  }
  if (known != nullptr && !known->link.empty()) {
    return known->link;
  }
  Text text(abi::file_path_bytes);
  const Or<std::uint64_t> got = ask(path, {.operation = abi::FileOperation::read_link,
                                           .buffer_gpa = address_of(text.data()),
                                           .buffer_bytes = text.size()});
  if (!got) {
    return std::unexpected(got.error());
  }
  text.resize(*got);
  if (known != nullptr) {
    known->link = text;
  }
  return text;
}

Or<abi::FileSpace> HostFiles::space(std::string_view path) {
  abi::FileSpace is;
  const Or<std::uint64_t> got = ask(path, {.operation = abi::FileOperation::space,
                                           .buffer_gpa = address_of(&is),
                                           .buffer_bytes = sizeof is});
  return got ? Or<abi::FileSpace>(is) : std::unexpected(got.error());
}

// ---- opening -----------------------------------------------------------------------------------

Or<File*> HostFiles::open_as(std::string_view path, std::uint32_t flags, std::uint32_t mode) {
  const Or<std::uint64_t> number = ask(path, {.operation = abi::FileOperation::open,
                                              .flags = flags | abi::file_no_follow,
                                              .mode = mode & host_rights});
  if (!number) {
    return std::unexpected(number.error());
  }
  const HostHandle host(port_, static_cast<std::uint32_t>(*number));
  const bool writes = (flags & abi::file_write) != 0;
  const bool folder = (flags & abi::file_directory) != 0 && !writes;
  auto file = std::make_unique<HostFile>(
      host, machine_, contents_, folder ? HostFile::Kind::folder : HostFile::Kind::regular,
      use_ == Use::read_only && !folder ? HostFile::ReadAhead::yes : HostFile::ReadAhead::no);
  if (writes) {
    const Or<abi::FileStat> is = host.stat();
    if (!is) {
      return std::unexpected(is.error());
    }
    file->share_content(*is);
  }
  return file.release();
}

Or<File*> HostFiles::open(std::string_view path, FileAccess access, const abi::FileStat& stat) {
  const bool writes = access == FileAccess::write;
  if (S_ISDIR(stat.mode) && writes) {
    return std::unexpected(EISDIR);
  }
  return open_as(
      path, (writes ? abi::file_write : 0U) | (S_ISDIR(stat.mode) ? abi::file_directory : 0U), 0);
}

Or<File*> HostFiles::create(std::string_view path, std::uint32_t mode) {
  return open_as(path, abi::file_write | abi::file_create | abi::file_exclusive, mode);
}

Or<File*> HostFiles::create_unnamed(std::string_view folder, std::uint32_t mode) {
  return open_as(folder, abi::file_write | abi::file_temporary | abi::file_directory, mode);
}

// ---- changes -----------------------------------------------------------------------------------

// What gets a name has its content, or it would be there without if all ended now; what gets times
// keeps them.
int HostFiles::change_complete(std::string_view path, const abi::FileCall& call) {
  contents_.write_out();
  return change(path, call);
}

int HostFiles::make_folder(std::string_view path, std::uint32_t mode) {
  return change(path,
                {.operation = abi::FileOperation::make_directory, .mode = mode & host_rights});
}

int HostFiles::make_link(std::string_view path, std::string_view text) {
  return change(path, {.operation = abi::FileOperation::make_link,
                       .buffer_gpa = address_of(text.data()),
                       .buffer_bytes = text.size()});
}

int HostFiles::remove(std::string_view path, NameKind kind) {
  return change(path, {.operation = abi::FileOperation::remove,
                       .flags = kind == NameKind::folder ? abi::file_directory : 0U});
}

int HostFiles::rename(std::string_view from, std::string_view to, std::uint32_t flags) {
  return change_complete(from, {.operation = abi::FileOperation::rename,
                                .flags = (flags == RENAME_NOREPLACE ? abi::file_exclusive : 0U) |
                                         (flags == RENAME_EXCHANGE ? abi::file_exchange : 0U),
                                .buffer_gpa = address_of(to.data()),
                                .buffer_bytes = to.size()});
}

int HostFiles::link(std::string_view from, std::string_view to) {
  return change_complete(from, {.operation = abi::FileOperation::link,
                                .buffer_gpa = address_of(to.data()),
                                .buffer_bytes = to.size()});
}

int HostFiles::set_mode(std::string_view path, std::uint32_t mode) {
  return (mode & ~host_rights) != 0
             ? EPERM
             : change_complete(path, {.operation = abi::FileOperation::set_mode, .mode = mode});
}

int HostFiles::set_times(std::string_view path, const abi::FileTimes& times) {
  return change_complete(path, {.operation = abi::FileOperation::set_times,
                                .buffer_gpa = address_of(&times),
                                .buffer_bytes = sizeof times});
}

int HostFiles::set_owner(std::string_view path, const abi::FileOwner& owner) {
  return change_complete(path, {.operation = abi::FileOperation::set_owner,
                                .buffer_gpa = address_of(&owner),
                                .buffer_bytes = sizeof owner});
}

} // namespace guest::linux
