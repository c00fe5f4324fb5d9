// SPDX-License-Identifier: MIT
// An open file of the host's, as the program sees it. What of its content lies in the guest is
// HostContent's while anybody has it open for writing, and what lay around a small read where the
// program can only read.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/file.hpp"
#include "guest/linux/files/host_contents.hpp"
#include "guest/linux/files/host_handle.hpp"

namespace guest::linux {

class HostFile final : public File {
 public:
  enum class Kind : std::uint8_t { regular, folder };
  enum class ReadAhead : std::uint8_t { no, yes };

  // Closes the file at its end. All but the file outlive this.
  HostFile(const HostHandle& host, Machine& machine, HostContents& contents, Kind kind,
           ReadAhead ahead)
      : host_(host), machine_(machine), contents_(contents), kind_(kind), ahead_(ahead) {}
  ~HostFile() override;
  // It is a regular file that was opened for writing, and the host says `is` of it.
  void share_content(const abi::FileStat& is);

  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<std::uint64_t> load(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override;
  [[nodiscard]] Or<std::uint64_t> append(std::span<const std::byte> from,
                                         std::uint64_t& end) override;
  [[nodiscard]] Or<abi::FileStat> stat() override;
  [[nodiscard]] Or<std::uint64_t> bytes() override;
  [[nodiscard]] Or<abi::FileSpace> space() override;
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) override;
  [[nodiscard]] int truncate(std::uint64_t bytes) override;
  [[nodiscard]] int allocate(std::uint32_t mode, std::uint64_t offset,
                             std::uint64_t bytes) override;
  [[nodiscard]] int sync() override;
  [[nodiscard]] int write_out() override;
  void bypass_cache() override { when_ = HostContent::When::at_once; }
  [[nodiscard]] int set_mode(std::uint32_t mode) override;
  [[nodiscard]] int set_times(const abi::FileTimes& times) override;
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override;
  void tell_code(std::uint64_t address, std::uint64_t offset, std::uint64_t bytes) override;
  [[nodiscard]] bool is_folder() const override { return kind_ == Kind::folder; }
  [[nodiscard]] SharedPages* shared_pages() override { return own_; }
  [[nodiscard]] bool is_mappable() const override { return kind_ == Kind::regular; }

 private:
  // What the host had at `offset` a moment ago.
  struct Ahead {
    static constexpr std::uint64_t most_bytes = 16384;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t until_ns = 0;
    std::array<std::byte, most_bytes> content;
  };

  // What lies in the guest of it; null: nothing can.
  [[nodiscard]] HostContent* content();
  // An error of what waited that has not been told; 0: none.
  [[nodiscard]] int untold_error();
  [[nodiscard]] int change_attributes(const abi::FileCall& call);
  [[nodiscard]] Or<std::uint64_t> read_ahead(std::uint64_t offset, std::span<std::byte> to);

  HostHandle host_;
  Machine& machine_;
  HostContents& contents_;
  Kind kind_;
  ReadAhead ahead_;
  HostContent::When when_ = HostContent::When::later;
  HostContent* own_ = nullptr;      // of a file that is open for writing
  std::uint64_t errors_told_ = 0;   // of HostContent::errors()
  std::optional<abi::FileStat> is_; // of one that is not: which file it is, once somebody asked
  std::uint64_t listed_to_ = 0;     // where the host's list of the folder is
  std::unique_ptr<Ahead> kept_;
};

} // namespace guest::linux
