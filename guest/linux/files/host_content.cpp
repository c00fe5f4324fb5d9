// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_content.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t page_bytes = abi::page_bytes;
// What a read brings: the least, because a call costs as much as copying that; the most, when one
// read follows the other.
constexpr std::uint64_t least_ahead_pages = 4;
constexpr std::uint64_t most_ahead_pages = 64;
constexpr std::uint64_t most_run_pages = abi::file_transfer_bytes / page_bytes;
// Who writes so far behind the end may meet a limit of the host's, and is to be told.
constexpr std::uint64_t far_bytes = std::uint64_t{16} << 20;
// With less free memory than that, pages go one by one: a buffer for several is memory, too.
constexpr std::uint64_t spare_pages = std::uint64_t{4} * most_run_pages;

// How long memory shows a page without asking again.
constexpr std::uint64_t shown_time_ns = 30'000'000'000;

constexpr PageRange pages_of(std::uint64_t offset, std::uint64_t bytes) {
  return {std::min(offset / page_bytes, PageTree::most_pages),
          bytes > ~offset ? PageTree::most_pages
                          : std::min(pages_for(offset + bytes), PageTree::most_pages)};
}

} // namespace

void HostContent::remove_writer(const HostHandle& writer) {
  std::erase_if(writers_, [&](const HostHandle& one) { return one.number() == writer.number(); });
}

bool HostContent::has_room_for_copies() const {
  return pool_.space().free_pages >= spare_pages;
}

// ---- what memory shows -------------------------------------------------------------------------

Or<ShownPage> HostContent::page_to_show(std::uint64_t number, Access access) {
  if (number >= pages_for(bytes_)) {
    return std::unexpected(EFAULT);
  }
  std::byte* page = pages_.find(number, use_.now_ns);
  if (page == nullptr && number * page_bytes < host_bytes_) {
    const Or<std::byte*> got = fetch(writers_.front(), {number, number + 1}, use_.now_ns);
    if (!got) {
      return std::unexpected(EFAULT);
    }
    page = *got;
  } else if (page == nullptr) {
    page = pages_.add(number, use_.now_ns);
  }
  if (page == nullptr) {
    return std::unexpected(ENOMEM);
  }
  shown_since_ns_ = is_shown_ ? shown_since_ns_ : use_.now_ns;
  is_shown_ = true;
  if (access == Access::write) {
    pages_.set_dirty(number);
  }
  return ShownPage{page, pages_.is_dirty(number)};
}

void HostContent::hide(PageRange range) {
  if (is_shown_) {
    views_.hide(*this, range);
    is_shown_ = !(range.first == all_pages.first && range.end == all_pages.end);
  }
}

void HostContent::drop(PageRange range) {
  hide(range);
  pages_.drop(range);
}

// Of what memory shows nobody knows whether it is used, but by hiding it.
void HostContent::drop_unused(std::uint64_t since_ns) {
  if (is_shown_ && since_ns != at_all && shown_since_ns_ + shown_time_ns > since_ns) {
    return;
  }
  hide(all_pages);
  pages_.drop_unused(since_ns);
}

void HostContent::zero_behind_end() {
  const std::uint64_t within = bytes_ % page_bytes;
  if (std::byte* const page = within == 0 ? nullptr : pages_.find(bytes_ / page_bytes)) {
    std::memset(page + within, 0, page_bytes - within);
  }
}

// ---- to the host -------------------------------------------------------------------------------

void HostContent::write_out(PageRange range) {
  const std::uint64_t most = pages_.is_dirty() && has_room_for_copies() ? most_run_pages : 1;
  bool refused = false;
  for (PageRange run = pages_.first_dirty(range, most); !run.is_empty();
       run = pages_.first_dirty({run.end, range.end}, most)) {
    if (const int error = write_run(run); error != 0) {
      last_error_ = error;
      ++errors_;
      refused = true;
      drop(run);
    } else {
      pages_.set_clean(run);
    }
  }
  if (!pages_.is_dirty() && (refused || bytes_ != host_bytes_)) {
    bytes_ = host_bytes_;
    if (const Or<abi::FileStat> is = writers_.front().stat()) {
      learn(*is);
    }
  }
}

// From now on nobody writes there without asking.
int HostContent::write_run(PageRange run) {
  hide(run);
  zero_behind_end();
  const std::uint64_t offset = run.first * page_bytes;
  const std::uint64_t bytes = std::min(run.end * page_bytes, bytes_) - offset;
  std::unique_ptr<std::byte[]> copy;
  const std::byte* from = pages_.find(run.first);
  if (run.end - run.first > 1) {
    copy = std::make_unique_for_overwrite<std::byte[]>((run.end - run.first) * page_bytes);
    for (std::uint64_t page = run.first; page < run.end; ++page) {
      std::memcpy(copy.get() + (page - run.first) * page_bytes, pages_.find(page), page_bytes);
    }
    from = copy.get();
  }
  changed_ = true;
  for (std::uint64_t done = 0; done < bytes;) {
    const Or<std::uint64_t> put =
        writers_.front().write(offset + done, {from + done, bytes - done});
    if (!put || *put == 0) {
      return put ? EIO : put.error();
    }
    done += *put;
    host_bytes_ = std::max(host_bytes_, offset + done);
  }
  return 0;
}

Or<std::uint64_t> HostContent::write_at_once(const HostHandle& file, std::uint64_t offset,
                                             std::span<const std::byte> from) {
  const PageRange covered = pages_of(offset, from.size());
  write_out(covered);
  drop(covered);
  const Or<std::uint64_t> put = file.write(offset, from);
  if (put) {
    changed_ = true;
    host_bytes_ = std::max(host_bytes_, offset + *put);
    bytes_ = std::max(bytes_, host_bytes_);
  }
  return put;
}

// ---- from the host -----------------------------------------------------------------------------

void HostContent::learn(const abi::FileStat& is) {
  const bool by_others = changed_ ? is.bytes != host_bytes_
                                  : is.bytes != seen_.bytes || is.modified_ns != seen_.modified_ns;
  if (by_others) {
    drop_unused(at_all); // what waits stays
  }
  seen_ = is;
  changed_ = pages_.is_dirty();
  host_bytes_ = is.bytes;
  bytes_ = pages_.is_dirty() ? std::max(bytes_, is.bytes) : is.bytes;
}

Or<abi::FileStat> HostContent::stat(const HostHandle& file) {
  write_out();
  const Or<abi::FileStat> is = file.stat();
  if (is) {
    learn(*is);
  }
  return is;
}

PageRange HostContent::ahead_of(PageRange wanted) {
  ahead_pages_ = wanted.first == next_ ? std::min(2 * ahead_pages_, most_ahead_pages) : 0;
  ahead_pages_ = std::max(ahead_pages_, least_ahead_pages);
  PageRange range{wanted.first, std::max(wanted.end, wanted.first + ahead_pages_)};
  range.end = std::min({range.end, pages_for(host_bytes_), range.first + most_run_pages});
  if (!has_room_for_copies()) {
    range.end = range.first + 1;
  }
  for (std::uint64_t page = range.first + 1; page < range.end; ++page) {
    if (pages_.has(page)) {
      range.end = page;
    }
  }
  next_ = range.end;
  return range;
}

Or<std::byte*> HostContent::fetch(const HostHandle& file, PageRange wanted, std::uint64_t now_ns) {
  const PageRange range = ahead_of(wanted);
  const std::uint64_t offset = range.first * page_bytes;
  const std::uint64_t bytes = (range.end - range.first) * page_bytes;
  const auto copy = std::make_unique_for_overwrite<std::byte[]>(bytes);
  const Or<std::uint64_t> got = file.read(offset, {copy.get(), bytes});
  if (!got) {
    return std::unexpected(got.error());
  }
  if (*got < std::min(bytes, host_bytes_ - offset)) { // somebody has cut it
    changed_ = true;
    host_bytes_ = offset + *got;
    bytes_ = pages_.is_dirty() ? bytes_ : host_bytes_;
  }
  std::byte* first = nullptr;
  for (std::uint64_t page = range.first; page < range.end; ++page) {
    const std::uint64_t at = (page - range.first) * page_bytes;
    if (at >= *got && page != range.first) {
      break;
    }
    std::byte* const to = pages_.add(page, now_ns);
    if (to == nullptr) {
      break;
    }
    std::memcpy(to, copy.get() + at, std::min(*got - std::min(at, *got), page_bytes));
    first = page == range.first ? to : first;
  }
  return first;
}

Or<std::uint64_t> HostContent::read_at_once(const HostHandle& file, std::uint64_t offset,
                                            std::span<std::byte> to) {
  write_out(pages_of(offset, to.size()));
  const Or<std::uint64_t> got = file.read(offset, to);
  if (got && *got < to.size() && pages_.is_dirty() && offset < bytes_) {
    // Behind the host's end lies what was never written, up to what waits.
    const std::uint64_t there = std::min<std::uint64_t>(to.size(), bytes_ - offset);
    std::ranges::fill(to.subspan(*got, std::max(there, *got) - *got), std::byte{0});
    return std::max(there, *got);
  }
  return got;
}

// ---- by the program ----------------------------------------------------------------------------

Or<std::uint64_t> HostContent::read(const HostHandle& file, std::uint64_t offset,
                                    std::span<std::byte> to, std::uint64_t now_ns, When when) {
  if (to.empty()) {
    return 0;
  }
  if (!pages_.is_dirty() && (offset >= bytes_ || bytes_ - offset < to.size())) {
    if (const Or<abi::FileStat> is = file.stat()) { // others may have appended to it
      learn(*is);
    }
  }
  if (offset >= bytes_) {
    return 0;
  }
  to = to.first(std::min<std::uint64_t>(to.size(), bytes_ - offset));
  if (when == When::at_once || to.size() >= large_bytes) {
    return read_at_once(file, offset, to);
  }
  std::uint64_t done = 0;
  while (done < to.size() && offset + done < bytes_) {
    const std::uint64_t at = offset + done;
    const std::uint64_t number = at / page_bytes;
    const std::uint64_t within = at % page_bytes;
    const std::byte* page = pages_.find(number, now_ns);
    if (page == nullptr && number * page_bytes < host_bytes_) {
      const Or<std::byte*> got = fetch(file, {number, pages_for(offset + to.size())}, now_ns);
      if (!got || *got == nullptr) {
        const Or<std::uint64_t> rest = got ? read_at_once(file, at, to.subspan(done))
                                           : Or<std::uint64_t>(std::unexpected(got.error()));
        return rest ? done + *rest : done != 0 ? Or<std::uint64_t>(done) : rest;
      }
      page = *got;
    }
    if (at >= bytes_) {
      break;
    }
    const std::uint64_t part = std::min({to.size() - done, page_bytes - within, bytes_ - at});
    use_.held = page;
    if (page != nullptr) {
      std::memcpy(to.data() + done, page + within, part);
    } else {
      std::memset(to.data() + done, 0, part);
    }
    use_.held = nullptr;
    done += part;
  }
  return done;
}

Or<std::uint64_t> HostContent::load(const HostHandle& file, std::uint64_t offset,
                                    std::span<std::byte> to) const {
  const Or<std::uint64_t> got = file.read(offset, to);
  if (!got) {
    return got;
  }
  const std::uint64_t there =
      std::max(*got, std::min<std::uint64_t>(to.size(), bytes_ - std::min(bytes_, offset)));
  std::ranges::fill(to.subspan(*got), std::byte{0});
  for (std::uint64_t done = 0; done < there;) {
    const std::uint64_t within = (offset + done) % page_bytes;
    const std::uint64_t part = std::min(there - done, page_bytes - within);
    if (const std::byte* const page = pages_.find((offset + done) / page_bytes)) {
      std::memcpy(to.data() + done, page + within, part);
    }
    done += part;
  }
  return there;
}

std::byte* HostContent::page_to_write(const HostHandle& file, std::uint64_t number, bool whole,
                                      std::uint64_t now_ns) {
  if (std::byte* const page = pages_.find(number, now_ns)) {
    return page;
  }
  if (!whole && number * page_bytes < host_bytes_) {
    return fetch(file, {number, number + 1}, now_ns).value_or(nullptr);
  }
  return pages_.add(number, now_ns);
}

Or<std::uint64_t> HostContent::write(const HostHandle& file, std::uint64_t offset,
                                     std::span<const std::byte> from, std::uint64_t now_ns,
                                     When when) {
  if (from.empty()) {
    return 0;
  }
  const bool is_far = offset > bytes_ && offset - bytes_ > far_bytes;
  if (when == When::at_once || is_far || from.size() >= large_bytes) {
    return write_at_once(file, offset, from);
  }
  if (offset > bytes_) {
    zero_behind_end();
  }
  std::uint64_t done = 0;
  while (done < from.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t within = at % page_bytes;
    const std::uint64_t part = std::min(from.size() - done, page_bytes - within);
    std::byte* const page = page_to_write(file, at / page_bytes, part == page_bytes, now_ns);
    if (page == nullptr) {
      const Or<std::uint64_t> rest = write_at_once(file, at, from.subspan(done));
      return rest ? done + *rest : done != 0 ? Or<std::uint64_t>(done) : rest;
    }
    pages_.set_dirty(at / page_bytes);
    bytes_ = std::max(bytes_, at + part);
    std::memcpy(page + within, from.data() + done, part);
    done += part;
  }
  return done;
}

Or<std::uint64_t> HostContent::append(const HostHandle& file, std::span<const std::byte> from,
                                      std::uint64_t& end) {
  write_out();
  const Or<std::uint64_t> put = file.append(from);
  const Or<abi::FileStat> is = file.stat();
  if (is) {
    const std::uint64_t before =
        std::min(host_bytes_, is->bytes - std::min(is->bytes, put.value_or(0)));
    drop({before / page_bytes, PageTree::most_pages});
    host_bytes_ = is->bytes;
    changed_ = true;
    learn(*is);
  }
  end = is ? is->bytes : put.value_or(0);
  return put;
}

// What is cut off must not show again when the file grows.
int HostContent::truncate(const HostHandle& file, std::uint64_t bytes) {
  if (const int error = file.truncate(bytes); error != 0) {
    return error;
  }
  zero_behind_end();
  drop({pages_for(bytes), PageTree::most_pages});
  bytes_ = host_bytes_ = bytes;
  zero_behind_end();
  changed_ = true;
  return 0;
}

int HostContent::allocate(const HostHandle& file, std::uint32_t mode, std::uint64_t offset,
                          std::uint64_t bytes) {
  write_out();
  const int error = file.allocate(mode, offset, bytes);
  if (error == 0) {
    drop(pages_of(offset, bytes));
    if (const Or<abi::FileStat> is = file.stat()) {
      host_bytes_ = is->bytes;
      changed_ = true;
      learn(*is);
    }
  }
  return error;
}

} // namespace guest::linux
