// SPDX-License-Identifier: MIT
// A file in the guest's memory: regular, a folder, a symbolic link or the name of a pipe.
// MemoryFiles has the tree of them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/text.hpp"
#include "guest/linux/files/page_tree.hpp"
#include "guest/linux/files/pipe.hpp"
#include "guest/linux/files/shared_pages.hpp"
#include "shared/file_call.hpp"

namespace guest::linux {

class MemoryFile final : public SharedPages {
 public:
  static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 47;

  // Owner, times and mode, with the type of the file, are those of `like`. `pool` and `views`
  // outlive this.
  MemoryFile(PagePool& pool, PageViews& views, std::uint64_t inode, const abi::FileStat& like);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() = default;

  [[nodiscard]] bool is_folder() const;
  [[nodiscard]] abi::FileStat stat() const;
  // What changes and is kept here: rights, owner, times. Links are counted by who names the file.
  [[nodiscard]] abi::FileStat& attributes() { return attributes_; }

  // ---- of a regular file. What was never written reads as zero.
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, std::span<std::byte> to) const;
  // As much as there is memory for; ENOSPC when that is nothing, EFBIG where no file reaches.
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset, std::span<const std::byte> from);
  // Results are 0 or an error number. What is cut off goes back.
  [[nodiscard]] int truncate(std::uint64_t bytes);
  [[nodiscard]] int allocate(std::uint64_t offset, std::uint64_t bytes);
  void punch(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t bytes() const { return attributes_.bytes; }
  [[nodiscard]] Or<ShownPage> page_to_show(std::uint64_t number, Access access) override;

  // ---- of a link: what it says
  [[nodiscard]] std::string_view link() const { return view(link_); }
  void set_link(std::string_view text);

  // ---- of a folder
  struct Entry {
    Text name;
    MemoryFile* file = nullptr;
    std::uint64_t position = 0; // in lists: grows, and is never given twice
  };
  [[nodiscard]] MemoryFile* find(std::string_view name) const;
  void add(std::string_view name, MemoryFile& file);
  void erase(std::string_view name);
  [[nodiscard]] bool is_empty() const { return entries_.empty(); }
  [[nodiscard]] std::span<const Entry> entries() const { return entries_; }
  // Entries from `position` on, as File::list has them.
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) const;

  MemoryFile* parent = nullptr; // of a folder; of the root: itself
  std::uint32_t uses = 0;       // by open files
  std::uint32_t seals;          // F_SEAL_: what may not be done any more
  NamedPipe pipe;               // that it names

 private:
  void zero(std::uint64_t offset, std::uint64_t end);

  PageViews& views_;
  abi::FileStat attributes_;
  PageTree pages_;
  Text link_;
  std::vector<Entry> entries_;
  std::uint64_t last_position_ = 2; // behind "." and ".."
};

} // namespace guest::linux
