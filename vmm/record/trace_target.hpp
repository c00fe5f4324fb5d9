// SPDX-License-Identifier: MIT
// The file that a hypercall trace goes into. Opened, locked and given room before anything runs, so
// that what can be refused is refused then; nothing of an older trace is lost, and a new one has no
// name, until begin().
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shared/trace_record.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/new_file.hpp"

namespace vmm {

class TraceTarget {
 public:
  // User error when `path` is no regular file that keeps what is written, or is this process's
  // standard input or output, when it exists and is neither empty nor a trace, or when another
  // process writes it.
  static Result<TraceTarget> open(const std::string& path);
  // The same of a file that somebody has opened and handed over, for reading and writing; `name` is
  // how messages begin. Nobody else may write it, nor may it be `recorded`, which this process
  // writes (null: none).
  static Result<TraceTarget> take(UniqueFd fd, std::string name, const TraceTarget* recorded);
  // In memory, for what only the stepper reads.
  static Result<TraceTarget> unnamed();
  TraceTarget(TraceTarget&& other) noexcept = default;
  TraceTarget& operator=(TraceTarget&&) = delete;
  TraceTarget(const TraceTarget&) = delete;
  TraceTarget& operator=(const TraceTarget&) = delete;
  ~TraceTarget();

  // Makes sure of room for `bytes`, where the file system can. User error when there is none.
  [[nodiscard]] Result<void> reserve(std::uint64_t bytes);
  // A new file gets its name now, and is empty until begin(), which needs less for that. Error when
  // another file has got the name.
  [[nodiscard]] Result<void> publish();
  // The file becomes a trace of `header` and zeroes, `bytes` long. Once, after reserve(). Error
  // when the room was taken by others, or another file has got the name.
  [[nodiscard]] Result<void> begin(const abi::TraceHeader& header, std::uint64_t bytes);
  // Blocks behind [from, to), which begins at the file's end. 0 or an errno.
  [[nodiscard]] int grow(std::uint64_t from, std::uint64_t to) const;
  // Whether somebody else has made the file shorter than `bytes`.
  [[nodiscard]] bool is_shorter_than(std::uint64_t bytes) const;
  // The end of the recording. False: the file stays longer than it need be.
  bool cut_to(std::uint64_t bytes) const;

  [[nodiscard]] int fd() const { return new_file_ ? new_file_->fd() : fd_.get(); }

 private:
  explicit TraceTarget(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] Result<void> take_existing(const std::string& path);
  [[nodiscard]] Result<void> check_existing();
  // Whether both write one file.
  [[nodiscard]] bool is_same_file(const TraceTarget& other) const;
  [[nodiscard]] Result<void> lock() const;

  std::string name_;                // how messages begin: such as "--trace FILE"
  std::optional<NewFile> new_file_; // or
  UniqueFd fd_;                     // what exists
  std::uint64_t old_bytes_ = 0;     // its length
  bool reserved_ = false;
  bool begun_ = false;
  bool published_ = false; // of new_file_
};

} // namespace vmm
