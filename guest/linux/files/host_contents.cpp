// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_contents.hpp"

#include <algorithm>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t space_time_ns = 1'000'000'000; // that an answer on space is good for
constexpr std::uint64_t look_time_ns = 500'000'000;    // from one look for unused pages to the next

} // namespace

HostContent& HostContents::enter(const HostHandle& file, const abi::FileStat& is) {
  HostContent* content = find(is);
  if (content == nullptr) {
    contents_.push_back(std::make_unique<HostContent>(pool_, use_, views_, is));
    content = contents_.back().get();
  } else {
    content->learn(is);
  }
  content->add_writer(file);
  return *content;
}

void HostContents::leave(HostContent& content, const HostHandle& file) {
  content.write_out();
  content.remove_writer(file);
  if (!content.has_writers()) {
    std::erase_if(contents_,
                  [&](const std::unique_ptr<HostContent>& one) { return one.get() == &content; });
  }
}

HostContent* HostContents::find(const abi::FileStat& is) const {
  const auto found =
      std::ranges::find_if(contents_, [&](const auto& content) { return content->is_of(is); });
  return found == contents_.end() ? nullptr : found->get();
}

HostContent::When HostContents::when_to_write(const HostContent& content, const HostHandle& file) {
  if (content.errors() != 0) {
    return HostContent::When::at_once;
  }
  const std::uint64_t now_ns = machine_.now_ns();
  if (space_.device != content.device() || now_ns >= space_.until_ns) {
    const Or<abi::FileSpace> is = file.space();
    space_ = {.device = content.device(),
              .bytes = is ? is->available_blocks * is->block_bytes : 0,
              .until_ns = now_ns + space_time_ns};
  }
  return space_.bytes < least_space_bytes ? HostContent::When::at_once : HostContent::When::later;
}

void HostContents::write_out() {
  for (const auto& content : contents_) {
    content->write_out();
  }
  dirty_since_ns_ = 0;
}

void HostContents::drop_unused(std::uint64_t since_ns) {
  for (const auto& content : contents_) {
    content->drop_unused(since_ns);
  }
}

bool HostContents::give_back() {
  const std::uint64_t before = use_.pages;
  drop_unused(HostContent::at_all);
  return use_.pages != before;
}

// Whole chunks, those that were not used for longest.
void HostContents::drop_least_used(std::uint64_t pages) {
  std::vector<CachedPages::Use> uses;
  for (const auto& content : contents_) {
    content->list_uses(uses);
  }
  std::ranges::sort(uses, {}, &CachedPages::Use::used_ns);
  std::uint64_t sum = 0;
  for (const CachedPages::Use& use : uses) {
    sum += use.clean_pages;
    if (sum >= pages) {
      drop_unused(use.used_ns + 1);
      return;
    }
  }
  drop_unused(HostContent::at_all);
}

void HostContents::tend() {
  if (contents_.empty()) {
    return;
  }
  const std::uint64_t now_ns = use_.now_ns = machine_.now_ns();
  const std::uint64_t most_pages = (pool_.space().free_pages + use_.pages) / share_of_free;
  if (is_dirty()) {
    dirty_since_ns_ = dirty_since_ns_ == 0 ? now_ns : dirty_since_ns_;
    const std::uint64_t most_dirty = std::min(most_dirty_bytes / abi::page_bytes, most_pages / 2);
    if (use_.dirty_pages > most_dirty || now_ns - dirty_since_ns_ >= dirty_time_ns) {
      write_out();
    }
  } else {
    dirty_since_ns_ = 0;
  }
  if (use_.pages > most_pages) {
    drop_least_used(use_.pages - most_pages + most_pages / 8);
  }
  if (now_ns >= next_look_ns_) {
    next_look_ns_ = now_ns + look_time_ns;
    drop_unused(now_ns - std::min(now_ns, unused_time_ns));
  }
}

void HostContents::rest_until(std::uint64_t deadline_ns) {
  if (use_.pages == 0) {
    return;
  }
  write_out();
  const std::uint64_t now_ns = machine_.now_ns();
  if (deadline_ns > now_ns && deadline_ns - now_ns >= unused_time_ns) {
    drop_unused(HostContent::at_all);
  }
}

} // namespace guest::linux
