// SPDX-License-Identifier: MIT
// An open file of the host's, by the number that its file service gave.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/file.hpp"
#include "guest/linux/files/file_port.hpp"

namespace guest::linux {

class HostFile final : public File {
 public:
  enum class Kind : std::uint8_t { stream, regular, folder };
  enum class ReadAhead : std::uint8_t { no, yes };

  // Closes the number at its end, unless it is a stream's. `port` and `machine` outlive this.
  HostFile(FilePort& port, Machine& machine, std::uint32_t number, Kind kind, ReadAhead ahead)
      : port_(port), machine_(machine), number_(number), kind_(kind), ahead_(ahead) {}
  ~HostFile() override;

  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<std::uint64_t> load(std::uint64_t offset, std::span<std::byte> to) override {
    return read_host(offset, to);
  }
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override;
  [[nodiscard]] Or<std::uint64_t> append(std::span<const std::byte> from,
                                         std::uint64_t& end) override;
  [[nodiscard]] Or<abi::FileStat> stat() override;
  [[nodiscard]] Or<abi::FileSpace> space() override;
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) override;
  [[nodiscard]] int truncate(std::uint64_t bytes) override;
  [[nodiscard]] int allocate(std::uint32_t mode, std::uint64_t offset,
                             std::uint64_t bytes) override;
  [[nodiscard]] int sync() override;
  [[nodiscard]] int set_mode(std::uint32_t mode) override;
  [[nodiscard]] int set_times(const abi::FileTimes& times) override;
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override;
  [[nodiscard]] bool is_stream() const override { return kind_ == Kind::stream; }
  [[nodiscard]] bool is_folder() const override { return kind_ == Kind::folder; }
  [[nodiscard]] bool is_mappable() const override { return kind_ == Kind::regular; }
  [[nodiscard]] bool may_become_ready() const override { return is_stream(); }
  [[nodiscard]] Or<Readiness> wait(Readiness wanted, std::uint64_t timeout_ns) override;

 private:
  // What the host had at `offset` a moment ago.
  struct Ahead {
    static constexpr std::uint64_t most_bytes = 16384;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t until_ns = 0;
    std::array<std::byte, most_bytes> content;
  };

  [[nodiscard]] Or<std::uint64_t> ask(abi::FileCall call);
  [[nodiscard]] int change(abi::FileCall call);
  [[nodiscard]] Or<std::uint64_t> read_host(std::uint64_t offset, std::span<std::byte> to);

  FilePort& port_;
  Machine& machine_;
  std::uint32_t number_;
  Kind kind_;
  ReadAhead ahead_;
  std::uint64_t listed_to_ = 0; // where the host's list of the folder is
  std::unique_ptr<Ahead> kept_;
};

} // namespace guest::linux
