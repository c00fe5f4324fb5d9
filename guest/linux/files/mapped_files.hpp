// SPDX-License-Identifier: MIT
// The files that a program's memory shows, by number: each stays open as long as it is shown,
// whatever the program closes. Pure but for frames, which lie at their own addresses.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/files/file.hpp"
#include "guest/linux/memory/area_views.hpp"
#include "guest/linux/memory/page_contents.hpp"

namespace guest::linux {

// So much of a file is loaded when it is mapped: a fault costs more.
inline constexpr std::uint64_t file_at_once_bytes = std::uint64_t{64} << 10;

class MappedFiles final : public PageContents, public PageViews {
 public:
  // Outlives this.
  explicit MappedFiles(AreaViews& views) : views_(views) {}

  // The content of a file from an offset on. The same number again for a file that is shown. Shared
  // only what has shared_pages().
  [[nodiscard]] Content add(std::shared_ptr<File> file, std::uint64_t offset,
                            Content::Sharing sharing = Content::Sharing::copied);
  // Whether memory shows it as it is.
  [[nodiscard]] bool is_shared(const SharedPages& pages) const;
  // 0 or an error number; of all: the first.
  [[nodiscard]] int sync(const Content& content);
  [[nodiscard]] int write_out();

  [[nodiscard]] Or<std::uint64_t> load(const Content& from, abi::Pfn first,
                                       std::uint64_t count) override;
  [[nodiscard]] Or<Shown> show(const Content& from, Access access) override;
  void forget(std::uint32_t file) override;
  void hide(const SharedPages& of, PageRange range) override;

 private:
  AreaViews& views_;
  bool shares_ = false;                      // has ever been asked to
  std::vector<std::shared_ptr<File>> files_; // number - 1 is the index; null: free
};

} // namespace guest::linux
