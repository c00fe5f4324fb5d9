// SPDX-License-Identifier: MIT
// Pages of a file that a program's memory shows as they are, so that what is written there is
// written to the file (MAP_SHARED). Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/linux/base/error_number.hpp"
#include "guest/linux/base/resolution.hpp"
#include "guest/linux/files/page_tree.hpp"

namespace guest::linux {

struct ShownPage {
  std::byte* page = nullptr;
  bool may_be_written = false; // without asking again
};

class SharedPages {
 public:
  // The page, which stays where it is until its owner has it hidden. Access::write: it is going to
  // be written to. EFAULT: the file does not reach there, or it cannot be read; ENOMEM.
  [[nodiscard]] virtual Or<ShownPage> page_to_show(std::uint64_t number, Access access) = 0;

 protected:
  SharedPages() = default;
  ~SharedPages() = default;
};

// Who knows where pages are shown.
class PageViews {
 public:
  // Nothing shows these pages any more; who touches them there asks again.
  virtual void hide(const SharedPages& of, PageRange range) = 0;

 protected:
  PageViews() = default;
  ~PageViews() = default;
};

} // namespace guest::linux
