// SPDX-License-Identifier: MIT
// A tree of files in the guest's memory, as /tmp has them: gone with the guest. What is cut off or
// removed goes back to the pool, of an open file when it is closed. Rights are kept, not enforced:
// all of it is the program's own. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/linux/base/real_time.hpp"
#include "guest/linux/files/file_system.hpp"
#include "guest/linux/files/memory_file.hpp"

namespace guest::linux {

class MemoryFiles final : public FileSystem {
 public:
  struct Owner {
    std::uint32_t user = 0;
    std::uint32_t group = 0;
  };
  // `pool`, `views` and `time` outlive this. `device` is what stat says.
  MemoryFiles(PagePool& pool, PageViews& views, RealTime& time, Owner owner, std::uint64_t device);
  ~MemoryFiles();

  [[nodiscard]] bool is_changeable() const override { return true; }
  [[nodiscard]] Or<abi::FileStat> look_up(std::string_view path) override;
  [[nodiscard]] Or<Text> link_text(std::string_view path) override;
  [[nodiscard]] Or<File*> open(std::string_view path, FileAccess access,
                               const abi::FileStat& stat) override;
  [[nodiscard]] Or<File*> open_pipe(std::string_view path, PipeAccess access) override;
  [[nodiscard]] Or<abi::FileSpace> space(std::string_view path) override;
  [[nodiscard]] Or<File*> create(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] Or<File*> create_unnamed(std::string_view folder, std::uint32_t mode) override;
  // The same that is executable and may be sealed (memfd_create); `seals` are there already.
  [[nodiscard]] Or<File*> create_sealable(std::uint32_t mode, std::uint32_t seals);
  [[nodiscard]] int make_folder(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] int make_link(std::string_view path, std::string_view text) override;
  [[nodiscard]] int make_special(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] int remove(std::string_view path, NameKind kind) override;
  [[nodiscard]] int rename(std::string_view from, std::string_view to,
                           std::uint32_t flags) override;
  [[nodiscard]] int link(std::string_view from, std::string_view to) override;
  [[nodiscard]] int set_mode(std::string_view path, std::uint32_t mode) override;
  [[nodiscard]] int set_times(std::string_view path, const abi::FileTimes& times) override;
  [[nodiscard]] int set_owner(std::string_view path, const abi::FileOwner& owner) override;

 private:
  friend class OpenMemoryFile;
  struct Place {
    MemoryFile* folder = nullptr;
    std::string_view name;
    MemoryFile* file = nullptr; // null: not there
  };

  [[nodiscard]] Or<MemoryFile*> find(std::string_view path) const;
  [[nodiscard]] Or<Place> place_of(std::string_view path) const;
  [[nodiscard]] MemoryFile* make(std::uint32_t mode);
  [[nodiscard]] Or<MemoryFile*> make_named(std::string_view path, std::uint32_t mode);
  void touch(MemoryFile& file);
  void change(MemoryFile& file, const abi::FileTimes& times);
  void change(MemoryFile& file, const abi::FileOwner& owner);
  void change(MemoryFile& file, std::uint32_t mode);
  // Takes the name away, and the file with its last name and user.
  void unlink(const Place& place);
  static void leave(MemoryFile& file);

  PagePool& pool_;
  PageViews& views_;
  RealTime& time_;
  Owner owner_;
  std::uint64_t device_;
  std::uint64_t last_inode_ = 0;
  MemoryFile* root_;
};

} // namespace guest::linux
