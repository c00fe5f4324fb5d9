// SPDX-License-Identifier: MIT
#include "guest/linux/files/mapped_files.hpp"

#include <algorithm>

namespace guest::linux {

Content MappedFiles::add(std::shared_ptr<File> file, std::uint64_t offset,
                         Content::Sharing sharing) {
  shares_ = shares_ || sharing == Content::Sharing::shared;
  auto slot = std::ranges::find(files_, file);
  if (slot == files_.end()) {
    slot = std::ranges::find(files_, nullptr);
  }
  if (slot == files_.end()) {
    slot = files_.insert(files_.end(), nullptr);
  }
  *slot = std::move(file);
  return {static_cast<std::uint32_t>(slot - files_.begin()) + 1, offset, sharing};
}

Or<std::uint64_t> MappedFiles::load(const Content& from, abi::Pfn first, std::uint64_t count) {
  auto* const to = reinterpret_cast<std::byte*>(abi::to_gpa(first).value); // NOLINT
  return files_[from.file - 1]->load(from.offset, {to, count * abi::page_bytes});
}

Or<PageContents::Shown> MappedFiles::show(const Content& from, Access access) {
  SharedPages* const pages = files_[from.file - 1]->shared_pages();
  const Or<ShownPage> shown = pages->page_to_show(from.offset / abi::page_bytes, access);
  if (!shown) {
    return std::unexpected(shown.error());
  }
  return Shown{{reinterpret_cast<std::uint64_t>(shown->page) / abi::page_bytes},
               shown->may_be_written};
}

void MappedFiles::hide(const SharedPages& of, PageRange range) {
  if (!shares_) {
    return;
  }
  for (std::size_t index = 0; index < files_.size(); ++index) {
    if (files_[index] != nullptr && files_[index]->shared_pages() == &of) {
      views_.hide(static_cast<std::uint32_t>(index) + 1, range.first * abi::page_bytes,
                  range.end * abi::page_bytes);
    }
  }
}

bool MappedFiles::is_shared(const SharedPages& pages) const {
  for (std::size_t index = 0; index < files_.size(); ++index) {
    if (files_[index] != nullptr && files_[index]->shared_pages() == &pages &&
        views_.any(static_cast<std::uint32_t>(index) + 1)) {
      return true;
    }
  }
  return false;
}

int MappedFiles::sync(const Content& content) {
  return files_[content.file - 1]->sync();
}

int MappedFiles::write_out() {
  int first = 0;
  for (const std::shared_ptr<File>& file : files_) {
    const int error = file == nullptr ? 0 : file->write_out();
    first = first != 0 ? first : error;
  }
  return first;
}

void MappedFiles::forget(std::uint32_t file) {
  files_[file - 1] = nullptr;
}

} // namespace guest::linux
