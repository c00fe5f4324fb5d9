// SPDX-License-Identifier: MIT
// A listening Unix stream socket that has a path, and takes it away again.
#pragma once

#include <sys/types.h>

#include <string>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class UnixListener {
 public:
  // Makes the socket at `path`, for the user alone (mode 0600), not blocking. A socket that nobody
  // listens on any more is replaced; anything else at `path` is a user error, as is a path that is
  // too long or cannot be made. `option` begins the message.
  static Result<UnixListener> create(const std::string& option, const std::string& path);
  UnixListener(UnixListener&& other) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;
  // Removes the socket if it is still this one.
  ~UnixListener();

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UnixListener(std::string path, UniqueFd fd);

  std::string path_;
  UniqueFd fd_;
  dev_t device_ = 0; // of the socket's file
  ino_t inode_ = 0;
};

} // namespace vmm
