// SPDX-License-Identifier: MIT
// A tree of files that a program sees a part of its paths in: the host's, the guest's memory, or
// what is made up. Pure.
//
// FileTree has followed the links and taken the dots out of every path that comes here, and has
// looked at what is there. What may not be changed says EROFS.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/linux/base/text.hpp"
#include "guest/linux/files/file.hpp"
#include "guest/linux/files/pipe.hpp"

namespace guest::linux {

// NAME_MAX: bytes of a name in a path.
inline constexpr std::size_t longest_file_name = 255;

enum class FileAccess : std::uint8_t { read, write }; // write: both
enum class NameKind : std::uint8_t { file, folder };

class FileSystem {
 public:
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  [[nodiscard]] virtual bool is_changeable() const { return false; }
  // Of the path itself, if it is a link. ENOENT, EACCES, ...
  [[nodiscard]] virtual Or<abi::FileStat> look_up(std::string_view path) = 0;
  // EINVAL for what is no link.
  [[nodiscard]] virtual Or<Text> link_text(std::string_view path) = 0;
  // What is there, which look_up() said is `stat`. The caller owns it.
  [[nodiscard]] virtual Or<File*> open(std::string_view path, FileAccess access,
                                       const abi::FileStat& stat) = 0;
  // The same of a pipe.
  [[nodiscard]] virtual Or<File*> open_pipe(std::string_view /*path*/, PipeAccess /*access*/) {
    return std::unexpected(EACCES);
  }
  [[nodiscard]] virtual Or<abi::FileSpace> space(std::string_view path) = 0;

  // A new regular file; EEXIST. `mode` is what is left after the umask, here and below.
  [[nodiscard]] virtual Or<File*> create(std::string_view /*path*/, std::uint32_t /*mode*/) {
    return std::unexpected(EROFS);
  }
  // One without a name, on the file system of a folder.
  [[nodiscard]] virtual Or<File*> create_unnamed(std::string_view /*folder*/,
                                                 std::uint32_t /*mode*/) {
    return std::unexpected(EROFS);
  }
  // Results are 0 or an error number.
  [[nodiscard]] virtual int make_folder(std::string_view /*path*/, std::uint32_t /*mode*/) {
    return EROFS;
  }
  [[nodiscard]] virtual int make_link(std::string_view /*path*/, std::string_view /*text*/) {
    return EROFS;
  }
  // What has no content: a name of unix(7) or a pipe, as the type in `mode` says.
  [[nodiscard]] virtual int make_special(std::string_view /*path*/, std::uint32_t /*mode*/) {
    return is_changeable() ? EPERM : EROFS;
  }
  [[nodiscard]] virtual int remove(std::string_view /*path*/, NameKind /*kind*/) { return EROFS; }
  // `flags`: 0, RENAME_NOREPLACE or RENAME_EXCHANGE.
  [[nodiscard]] virtual int rename(std::string_view /*from*/, std::string_view /*to*/,
                                   std::uint32_t /*flags*/) {
    return EROFS;
  }
  [[nodiscard]] virtual int link(std::string_view /*from*/, std::string_view /*to*/) {
    return EROFS;
  }
  [[nodiscard]] virtual int set_mode(std::string_view /*path*/, std::uint32_t /*mode*/) {
    return EROFS;
  }
  [[nodiscard]] virtual int set_times(std::string_view /*path*/, const abi::FileTimes& /*times*/) {
    return EROFS;
  }
  [[nodiscard]] virtual int set_owner(std::string_view /*path*/, const abi::FileOwner& /*owner*/) {
    return EROFS;
  }

 protected:
  ~FileSystem() = default;
};

} // namespace guest::linux
