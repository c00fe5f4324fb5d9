// SPDX-License-Identifier: MIT
// A path for a file that is gone when the test is.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

namespace test_support {

class TemporaryPath {
 public:
  // `name` tells tests of one process apart.
  explicit TemporaryPath(const char* name)
      : path_((std::filesystem::temp_directory_path() /
               ("ebb-" + std::string(name) + "-" + std::to_string(::getpid())))
                  .string()) {}
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& text() const { return path_; }

 private:
  std::string path_;
};

} // namespace test_support
