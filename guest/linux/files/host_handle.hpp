// SPDX-License-Identifier: MIT
// The calls on an open file of the host's, by the number that its file service gave: each goes to
// the host as it is. HostFile is what the program sees, and HostContent keeps what was read and
// written. Pure but for FilePort.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/files/file_port.hpp"

namespace guest::linux {

class HostHandle {
 public:
  // `port` outlives this.
  HostHandle(FilePort& port, std::uint32_t number) : port_(&port), number_(number) {}

  [[nodiscard]] std::uint32_t number() const { return number_; }

  // What the host answers to a call on this file, or its error number; change(): 0 or that.
  [[nodiscard]] Or<std::uint64_t> ask(abi::FileCall call) const;
  [[nodiscard]] int change(abi::FileCall call) const;

  // As many calls as it takes; less than all at the end of the file, and where an error stopped it
  // behind the first byte.
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) const;
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) const;
  // The host finds the end: others may append, too.
  [[nodiscard]] Or<std::uint64_t> append(std::span<const std::byte> from) const;
  [[nodiscard]] Or<abi::FileStat> stat() const;
  [[nodiscard]] Or<abi::FileSpace> space() const;
  [[nodiscard]] int truncate(std::uint64_t bytes) const;
  [[nodiscard]] int allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t bytes) const;
  [[nodiscard]] int sync() const;
  void close() const;

 private:
  [[nodiscard]] Or<std::uint64_t> put(std::uint32_t flags, std::uint64_t offset,
                                      std::span<const std::byte> from) const;

  FilePort* port_;
  std::uint32_t number_;
};

} // namespace guest::linux
