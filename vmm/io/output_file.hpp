// SPDX-License-Identifier: MIT
// An output that is opened before the work and has its content when that is done: in between the
// vmm gives up opening files, and the work may fail.
//
//   the path names             what happens
//   nothing, a dangling link   a new file (where the link points), named when it is complete
//   a regular file             keeps inode, mode, owner and links; overwritten when all is there
//   a pipe, a device           written to
//   -, /dev/stdout, /dev/fd/N  that descriptor is written to, from where it stands
//
// So is a regular file that is this process's standard output or error by another name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/new_file.hpp"

namespace vmm {

class OutputFile {
 public:
  // User error when `path` cannot be written; `option` ("--stats") begins all messages. Changes
  // nothing that exists. A pipe waits for its reader here.
  static Result<OutputFile> open(const std::string& option, const std::string& path);
  OutputFile(OutputFile&& other) noexcept = default;
  OutputFile& operator=(OutputFile&& other) = delete;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile() = default;

  // The folder in which finish() makes and removes names; empty when it does not.
  [[nodiscard]] std::optional<std::string> folder() const;

  // The next piece of the content. Environment error when it cannot be written; what a regular
  // file held before is still there then.
  [[nodiscard]] Result<void> append(std::string_view text);
  // Puts the content in place, once, after the last append(). Without it there is no new file, and
  // an old one is as it was. Environment error when that fails; a full disk harms nothing old.
  [[nodiscard]] Result<void> finish();
  // append() and finish().
  [[nodiscard]] Result<void> write(std::string_view text);

 private:
  OutputFile(std::string option, std::string path)
      : option_(std::move(option)), path_(std::move(path)) {}
  [[nodiscard]] static UniqueFd open_spool(const std::string& folder);
  [[nodiscard]] int content_fd() const;
  [[nodiscard]] std::unexpected<Error> cannot_write(int error) const;
  [[nodiscard]] int overwrite() const;

  std::string option_;
  std::string path_;
  std::optional<NewFile> new_file_; // or
  UniqueFd target_;                 // what exists
  UniqueFd spool_;                  // for a regular target: its content to be
};

} // namespace vmm
