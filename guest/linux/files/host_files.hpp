// SPDX-License-Identifier: MIT
// The host's files, as its file service shows them (shared/file_call.hpp). Pure but for FilePort.
//
// Where the program can only read, what was asked a moment ago is not asked again: look-ups, and
// what lies around a small read.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/file_system.hpp"
#include "guest/linux/files/host_contents.hpp"
#include "guest/linux/files/look_up_cache.hpp"

namespace guest::linux {

class HostFiles final : public FileSystem {
 public:
  // Whether the program can change what is there; where it can, everything is asked.
  enum class Use : std::uint8_t { read_only, changed };

  // All outlive this. `contents` is of all the host's files, wherever the program sees them.
  HostFiles(FilePort& port, Machine& machine, HostContents& contents, Use use)
      : port_(port), machine_(machine), contents_(contents), use_(use) {}

  [[nodiscard]] bool is_changeable() const override { return use_ == Use::changed; }
  [[nodiscard]] Or<abi::FileStat> look_up(std::string_view path) override;
  [[nodiscard]] Or<Text> link_text(std::string_view path) override;
  [[nodiscard]] Or<File*> open(std::string_view path, FileAccess access,
                               const abi::FileStat& stat) override;
  [[nodiscard]] Or<abi::FileSpace> space(std::string_view path) override;
  [[nodiscard]] Or<File*> create(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] Or<File*> create_unnamed(std::string_view folder, std::uint32_t mode) override;
  [[nodiscard]] int make_folder(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] int make_link(std::string_view path, std::string_view text) override;
  [[nodiscard]] int remove(std::string_view path, NameKind kind) override;
  [[nodiscard]] int rename(std::string_view from, std::string_view to,
                           std::uint32_t flags) override;
  [[nodiscard]] int link(std::string_view from, std::string_view to) override;
  [[nodiscard]] int set_mode(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] int set_times(std::string_view path, const abi::FileTimes& times) override;
  [[nodiscard]] int set_owner(std::string_view path, const abi::FileOwner& owner) override;

 private:
  // Result of the host, or its error number.
  [[nodiscard]] Or<std::uint64_t> ask(std::string_view path, abi::FileCall call);
  [[nodiscard]] int change(std::string_view path, abi::FileCall call);
  [[nodiscard]] int change_complete(std::string_view path, const abi::FileCall& call);
  [[nodiscard]] Or<File*> open_as(std::string_view path, std::uint32_t flags, std::uint32_t mode);

  // What the host says of a path, with what waits to be written there.
  [[nodiscard]] Or<abi::FileStat> with_content(const Or<abi::FileStat>& found);

  FilePort& port_;
  Machine& machine_;
  HostContents& contents_;
  Use use_;
  LookUpCache cache_;
};

} // namespace guest::linux
