// SPDX-License-Identifier: MIT
// A file that is opened before the guest runs and written when it has ended, because in between the
// vmm gives up opening files.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class OutputFile {
 public:
  // User error when `path` cannot be written; names the option --stats. What is no regular file (a
  // pipe, /dev/stdout) is written to; for anything else a file in the making is put beside it.
  static Result<OutputFile> open(const std::string& path);
  OutputFile(OutputFile&& other) noexcept = default;
  OutputFile& operator=(OutputFile&& other) = delete;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  // Removes the file in the making, unless it was put in place. It stays when the process is
  // killed.
  ~OutputFile();

  // The folder in which write() puts the file in place; empty when it does not.
  [[nodiscard]] std::optional<std::string> folder() const;

  // All of the text, once. A file is replaced in one step: a reader sees the old content or all of
  // the new. User error when that fails; nothing is left behind then.
  [[nodiscard]] Result<void> write(std::string_view text);

 private:
  OutputFile(std::string path, std::string temporary, UniqueFd fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(std::move(fd)) {}

  std::string path_;
  std::string temporary_; // empty: written in place
  UniqueFd fd_;
};

} // namespace vmm
