// SPDX-License-Identifier: MIT
// A file that is written again and again, and each time put in place as a whole: whoever reads it
// finds one content or the next, never a part.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/result.hpp"
#include "vmm/io/output_place.hpp"

namespace vmm {

class ReplacedFile {
 public:
  // What put() makes is opened with these flags, and no other call opens anything.
  static int open_flags();

  // User error when `path` is something other than a regular file, or its folder takes none;
  // `option` ("--metrics") begins all messages. Changes nothing that exists.
  static Result<ReplacedFile> create(const std::string& option, const std::string& path);

  // Environment error when it cannot be written; then the old content is still there. A name
  // beside the file's lasts as long as the call.
  [[nodiscard]] Result<void> put(std::string_view text) const;

 private:
  ReplacedFile(std::string name, OutputPlace place)
      : name_(std::move(name)), place_(std::move(place)) {}
  [[nodiscard]] std::string beside() const;
  [[nodiscard]] int write_beside(std::string_view text) const;

  std::string name_; // how messages begin: "--metrics FILE"
  OutputPlace place_;
};

} // namespace vmm
