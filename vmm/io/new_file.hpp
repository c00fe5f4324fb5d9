// SPDX-License-Identifier: MIT
// A file that gets its name only when it is wanted: before, whatever ends the process leaves
// nothing behind.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/output_place.hpp"

namespace vmm {

class NewFile {
 public:
  // An empty file with the mode that the umask leaves, for reading and writing. User error when the
  // folder takes none. Where file systems know no files without names, or /proc is not there to
  // name one by, it has its name at once; the destructor takes it away again.
  static Result<NewFile> create(const std::string& option, const std::string& path,
                                const OutputPlace& place);
  NewFile(NewFile&& other) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& folder() const { return place_.folder; }

  enum class Occupied : std::uint8_t {
    refuse,  // what has got the name meanwhile stays
    replace, // a regular file that has it gives way in one step
  };
  // 0, or the errno of why the file has not got its name. Once. Needs to make links in folder();
  // Occupied::replace also to rename and remove there.
  [[nodiscard]] int publish(Occupied occupied);

 private:
  enum class State : std::uint8_t { unnamed, named, published };
  NewFile(OutputPlace place, UniqueFd fd, State state)
      : place_(std::move(place)), fd_(std::move(fd)), state_(state) {}
  [[nodiscard]] int replace_regular(const std::string& self);

  OutputPlace place_;
  UniqueFd fd_;
  State state_;
};

} // namespace vmm
