// SPDX-License-Identifier: MIT
// Standard input, output or errors of the vmm: a terminal, a pipe, or a file of the host's, which
// is read and written where the host stands in it. Pure but for FilePort.
#pragma once

#include <cstdint>

#include "guest/linux/files/file.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/terminal.hpp"

namespace guest::linux {

class HostStream final : public File, private Terminal {
 public:
  static constexpr std::uint32_t count = 3;

  // `number`: 0, 1 or 2. `port` outlives this.
  HostStream(FilePort& port, std::uint32_t number);

  // Nothing is waited for: EAGAIN.
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  // As much as is taken at once; EAGAIN.
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override;
  [[nodiscard]] Or<std::uint64_t> seek(std::int64_t offset, std::uint32_t whence) override;
  [[nodiscard]] Or<abi::FileStat> stat() override;
  [[nodiscard]] int allocate(std::uint32_t /*mode*/, std::uint64_t /*offset*/,
                             std::uint64_t /*bytes*/) override {
    return ESPIPE;
  }
  [[nodiscard]] bool is_stream() const override { return true; }
  [[nodiscard]] Or<std::uint64_t> capacity() override;
  [[nodiscard]] bool may_become_ready() const override { return true; }
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] bool is_pollable() override;
  [[nodiscard]] std::uint64_t arrivals(Readiness /*wanted*/) override { return dry_; }
  [[nodiscard]] int watch(Readiness wanted) override;
  [[nodiscard]] Or<std::uint64_t> readable_bytes() override;
  [[nodiscard]] Terminal* terminal() override { return is_terminal_ ? this : nullptr; }

 private:
  [[nodiscard]] Or<abi::TerminalMode> mode() override;
  using File::set_mode;
  [[nodiscard]] int set_mode(const abi::TerminalMode& mode) override;
  [[nodiscard]] Or<abi::TerminalSize> size() override;
  [[nodiscard]] int flush(std::uint32_t queues) override;

  [[nodiscard]] Or<std::uint64_t> ask(abi::FileCall call);
  [[nodiscard]] int change(const abi::FileCall& call);

  FilePort& port_;
  std::uint32_t number_;
  bool is_terminal_;
  std::uint64_t dry_ = 0; // how often it had less to give, or took less, than it was asked
};

} // namespace guest::linux
