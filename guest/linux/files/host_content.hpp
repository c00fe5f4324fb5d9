// SPDX-License-Identifier: MIT
// The content of a file of the host's that the program has open for writing: what lies in the
// guest of it, shared by all who have the file open, whatever they call it. Pure but for FilePort.
//
// Small writes wait here until write_out(), and small reads bring what lies around them; what is
// large goes to the host and comes from there at once, and so does what is appended, which others
// may do, too. What the host says of the file is asked for again with every stat(): size, times and
// blocks are its own. An error of what waited is told once to each open file (errors()), and
// what could not be written is forgotten, as Linux does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/files/cached_pages.hpp"
#include "guest/linux/files/host_handle.hpp"
#include "guest/linux/files/shared_pages.hpp"

namespace guest::linux {

class HostContent final : public SharedPages {
 public:
  // A transfer that is not smaller takes about as long through the cache as without.
  static constexpr std::uint64_t large_bytes = std::uint64_t{128} << 10;
  enum class When : std::uint8_t { at_once, later };

  // All but `is`, what the host has just said of the file, outlive this.
  HostContent(PagePool& pool, CacheUse& use, PageViews& views, const abi::FileStat& is)
      : pool_(pool), use_(use), views_(views), pages_(pool, use), device_(is.device),
        inode_(is.inode), bytes_(is.bytes), host_bytes_(is.bytes), seen_(is) {}

  [[nodiscard]] bool is_of(const abi::FileStat& is) const {
    return is.device == device_ && is.inode == inode_;
  }
  [[nodiscard]] std::uint64_t device() const { return device_; }

  // Open files by which what waits can be written; there must be one while anything does.
  void add_writer(const HostHandle& writer) { writers_.push_back(writer); }
  void remove_writer(const HostHandle& writer);
  [[nodiscard]] bool has_writers() const { return !writers_.empty(); }

  // The size as the program sees it.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] bool is_dirty() const { return pages_.is_dirty(); }
  // How many times the host has refused what waited, and why the last time.
  [[nodiscard]] std::uint64_t errors() const { return errors_; }
  [[nodiscard]] int last_error() const { return last_error_; }

  // What memory shows waits to be written from when it is written to; writing it out hides it.
  [[nodiscard]] Or<ShownPage> page_to_show(std::uint64_t number, Access access) override;

  // ---- by `file`, an open file of it. `When::later`: if it may wait. Results as File has them.
  [[nodiscard]] Or<std::uint64_t> read(const HostHandle& file, std::uint64_t offset,
                                       std::span<std::byte> to, std::uint64_t now_ns, When when);
  // The same without changing what lies here: also in the middle of another call.
  [[nodiscard]] Or<std::uint64_t> load(const HostHandle& file, std::uint64_t offset,
                                       std::span<std::byte> to) const;
  [[nodiscard]] Or<std::uint64_t> write(const HostHandle& file, std::uint64_t offset,
                                        std::span<const std::byte> from, std::uint64_t now_ns,
                                        When when);
  [[nodiscard]] Or<std::uint64_t> append(const HostHandle& file, std::span<const std::byte> from,
                                         std::uint64_t& end);
  [[nodiscard]] int truncate(const HostHandle& file, std::uint64_t bytes);
  [[nodiscard]] int allocate(const HostHandle& file, std::uint32_t mode, std::uint64_t offset,
                             std::uint64_t bytes);
  // Writes out first: what the host says is all of it.
  [[nodiscard]] Or<abi::FileStat> stat(const HostHandle& file);
  [[nodiscard]] Or<abi::FileStat> stat() { return stat(writers_.front()); }
  // The host says `is` now: clean pages are forgotten when others have changed the file since.
  void learn(const abi::FileStat& is);

  // Hands to the host what waits. Errors are counted.
  void write_out() { write_out(all_pages); }
  // Clean pages that were last used before then go back; at_all: all of them.
  static constexpr std::uint64_t at_all = ~std::uint64_t{0};
  void drop_unused(std::uint64_t since_ns);
  void list_uses(std::vector<CachedPages::Use>& to) const { pages_.list_uses(to); }

 private:
  void write_out(PageRange range);
  void drop(PageRange range);
  void hide(PageRange range);
  // What memory that shows the last page has got behind the end must not show when it grows.
  void zero_behind_end();
  [[nodiscard]] int write_run(PageRange run);
  [[nodiscard]] bool has_room_for_copies() const;
  [[nodiscard]] Or<std::uint64_t> write_at_once(const HostHandle& file, std::uint64_t offset,
                                                std::span<const std::byte> from);
  [[nodiscard]] Or<std::uint64_t> read_at_once(const HostHandle& file, std::uint64_t offset,
                                               std::span<std::byte> to);
  // The page that is to be written to, at the place where it is in the file; null: not to be had.
  [[nodiscard]] std::byte* page_to_write(const HostHandle& file, std::uint64_t number, bool whole,
                                         std::uint64_t now_ns);
  // A page that is not there, and what may follow: up to `end` at the least, if there is so much.
  // Null: no memory.
  [[nodiscard]] Or<std::byte*> fetch(const HostHandle& file, PageRange wanted,
                                     std::uint64_t now_ns);
  [[nodiscard]] PageRange ahead_of(PageRange wanted);

  PagePool& pool_;
  CacheUse& use_;
  PageViews& views_;
  CachedPages pages_;
  std::uint64_t device_;
  std::uint64_t inode_;
  bool is_shown_ = false; // some of it may be
  std::uint64_t shown_since_ns_ = 0;
  std::vector<HostHandle> writers_;
  std::uint64_t bytes_;      // with what waits
  std::uint64_t host_bytes_; // the host's; the same when nothing waits
  // What the host said last; whether it was this program that has changed the file since.
  abi::FileStat seen_;
  bool changed_ = false;
  std::uint64_t errors_ = 0;
  int last_error_ = 0;
  std::uint64_t next_ = 0;        // page behind what was fetched last
  std::uint64_t ahead_pages_ = 0; // that were fetched then
};

} // namespace guest::linux
