// SPDX-License-Identifier: MIT
#include "guest/linux/files/memory_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guest/linux/files/directory_entries.hpp"
#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t sector_bytes = 512;

} // namespace

MemoryFile::MemoryFile(PagePool& pool, PageViews& views, std::uint64_t inode,
                       const abi::FileStat& like)
    : seals(F_SEAL_SEAL), views_(views), attributes_(like), pages_(pool) {
  attributes_.inode = inode;
  attributes_.block_bytes = abi::page_bytes;
}

bool MemoryFile::is_folder() const {
  return S_ISDIR(attributes_.mode);
}

abi::FileStat MemoryFile::stat() const {
  abi::FileStat is = attributes_;
  is.blocks = pages_.pages() * (abi::page_bytes / sector_bytes);
  return is;
}

// ---- content -----------------------------------------------------------------------------------

std::uint64_t MemoryFile::read(std::uint64_t offset, std::span<std::byte> to) const {
  const std::uint64_t left = offset < bytes() ? bytes() - offset : 0;
  const std::uint64_t whole = std::min<std::uint64_t>(left, to.size());
  for (std::uint64_t done = 0; done < whole;) {
    const std::uint64_t at = offset + done;
    const std::uint64_t within = at % abi::page_bytes;
    const std::uint64_t part = std::min(whole - done, abi::page_bytes - within);
    if (const std::byte* const page = pages_.find(at / abi::page_bytes)) {
      std::memcpy(to.data() + done, page + within, part);
    } else {
      std::memset(to.data() + done, 0, part);
    }
    done += part;
  }
  return whole;
}

Or<std::uint64_t> MemoryFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  if (from.empty()) {
    return 0;
  }
  if (offset >= most_bytes) {
    return std::unexpected(EFBIG);
  }
  const std::uint64_t whole = std::min<std::uint64_t>(from.size(), most_bytes - offset);
  std::uint64_t done = 0;
  while (done < whole) {
    const std::uint64_t at = offset + done;
    const std::uint64_t within = at % abi::page_bytes;
    const std::uint64_t part = std::min(whole - done, abi::page_bytes - within);
    std::byte* const page = pages_.make(at / abi::page_bytes);
    if (page == nullptr) {
      break;
    }
    std::memcpy(page + within, from.data() + done, part);
    done += part;
  }
  if (done == 0) {
    return std::unexpected(ENOSPC);
  }
  attributes_.bytes = std::max(bytes(), offset + done);
  return done;
}

// Holes become pages: who reads them here may write next.
Or<ShownPage> MemoryFile::page_to_show(std::uint64_t number, Access /*access*/) {
  if (number >= pages_for(bytes())) {
    return std::unexpected(EFAULT);
  }
  std::byte* const page = pages_.make(number);
  return page == nullptr ? Or<ShownPage>(std::unexpected(ENOMEM)) : ShownPage{page, true};
}

// Within the pages that there are.
void MemoryFile::zero(std::uint64_t offset, std::uint64_t end) {
  while (offset < end) {
    const std::uint64_t within = offset % abi::page_bytes;
    const std::uint64_t part = std::min(end - offset, abi::page_bytes - within);
    if (std::byte* const page = pages_.find(offset / abi::page_bytes)) {
      std::memset(page + within, 0, part);
    }
    offset += part;
  }
}

// What is cut off must not show again when the file grows.
int MemoryFile::truncate(std::uint64_t bytes) {
  if (bytes > most_bytes) {
    return EFBIG;
  }
  if (bytes < attributes_.bytes) {
    views_.hide(*this, {pages_for(bytes), PageTree::most_pages});
    pages_.drop(pages_for(bytes), PageTree::most_pages);
    zero(bytes, abi::align_up(bytes, abi::page_bytes));
  }
  attributes_.bytes = bytes;
  return 0;
}

int MemoryFile::allocate(std::uint64_t offset, std::uint64_t bytes) {
  if (offset > most_bytes || bytes > most_bytes - offset) {
    return EFBIG;
  }
  for (std::uint64_t page = offset / abi::page_bytes; page < pages_for(offset + bytes); ++page) {
    if (pages_.make(page) == nullptr) {
      return ENOSPC;
    }
  }
  return 0;
}

void MemoryFile::punch(std::uint64_t offset, std::uint64_t bytes) {
  offset = std::min(offset, most_bytes);
  const std::uint64_t end = offset + std::min(bytes, most_bytes - offset);
  const std::uint64_t first = abi::align_up(offset, abi::page_bytes);
  const std::uint64_t last = abi::align_down(end, abi::page_bytes);
  if (first > last) { // within one page
    zero(offset, end);
    return;
  }
  zero(offset, first);
  zero(last, end);
  views_.hide(*this, {first / abi::page_bytes, last / abi::page_bytes});
  pages_.drop(first / abi::page_bytes, last / abi::page_bytes);
}

void MemoryFile::set_link(std::string_view text) {
  link_ = to_text(text);
  attributes_.bytes = text.size();
}

// ---- a folder ----------------------------------------------------------------------------------

MemoryFile* MemoryFile::find(std::string_view name) const {
  const auto found = std::ranges::find_if(
      entries_, [name](const Entry& entry) { return view(entry.name) == name; });
  return found == entries_.end() ? nullptr : found->file;
}

void MemoryFile::add(std::string_view name, MemoryFile& file) {
  entries_.push_back({to_text(name), &file, ++last_position_});
  ++file.attributes_.links;
  if (file.is_folder()) {
    file.parent = this;
    ++attributes_.links; // its ".."
  }
}

void MemoryFile::erase(std::string_view name) {
  const auto found = std::ranges::find_if(
      entries_, [name](const Entry& entry) { return view(entry.name) == name; });
  MemoryFile& file = *found->file;
  --file.attributes_.links;
  attributes_.links -= file.is_folder() ? 1 : 0;
  entries_.erase(found);
}

// An entry's position stays its own while others come and go, so that who removes what it lists
// misses nothing.
Or<std::uint64_t> MemoryFile::list(std::uint64_t& position, std::span<std::byte> to) const {
  DirectoryEntries list(to);
  const auto finish = [&](bool all) -> Or<std::uint64_t> {
    return !all && list.bytes() == 0 ? Or<std::uint64_t>(std::unexpected(EINVAL)) : list.bytes();
  };
  if (position == 0) {
    if (!list.add(".", attributes_.inode, DT_DIR, 1)) {
      return finish(false);
    }
    position = 1;
  }
  if (position == 1) {
    if (!list.add("..", parent->attributes_.inode, DT_DIR, 2)) {
      return finish(false);
    }
    position = 2;
  }
  for (const Entry& entry : entries_) {
    if (entry.position > position) {
      if (!list.add(view(entry.name), entry.file->attributes_.inode,
                    entry_type(entry.file->attributes_.mode), entry.position)) {
        return finish(false);
      }
      position = entry.position;
    }
  }
  return finish(true);
}

} // namespace guest::linux
