// SPDX-License-Identifier: MIT
#include "guest/linux/files/host_file.hpp"

#include <algorithm>
#include <cstring>

#include "guest/linux/files/look_up_cache.hpp"

namespace guest::linux {

namespace {

// Larger reads are worth a call of their own.
constexpr std::size_t small_read_bytes = 4096;

} // namespace

HostFile::~HostFile() {
  if (own_ != nullptr) {
    contents_.leave(*own_, host_);
  }
  host_.close();
}

// ---- what lies in the guest --------------------------------------------------------------------

void HostFile::share_content(const abi::FileStat& is) {
  own_ = &contents_.enter(host_, is);
  errors_told_ = own_->errors();
}

HostContent* HostFile::content() {
  if (own_ != nullptr || contents_.is_empty() || kind_ != Kind::regular) {
    return own_;
  }
  if (!is_) {
    if (const Or<abi::FileStat> is = host_.stat()) {
      is_ = *is;
    }
  }
  return is_ ? contents_.find(*is_) : nullptr;
}

int HostFile::untold_error() {
  if (own_ == nullptr || own_->errors() == errors_told_) {
    return 0;
  }
  errors_told_ = own_->errors();
  return own_->last_error();
}

int HostFile::write_out() {
  if (own_ != nullptr) {
    own_->write_out();
  }
  return untold_error();
}

int HostFile::sync() {
  if (HostContent* const kept = content()) {
    kept->write_out();
  }
  const int untold = untold_error();
  const int error = host_.sync();
  return untold != 0 ? untold : error;
}

// ---- reading and writing -----------------------------------------------------------------------

Or<std::uint64_t> HostFile::read(std::uint64_t offset, std::span<std::byte> to) {
  if (is_folder()) {
    return std::unexpected(EISDIR);
  }
  if (to.empty()) {
    return 0;
  }
  if (HostContent* const kept = content()) {
    kept_.reset();
    return kept->read(host_, offset, to, machine_.now_ns(), when_);
  }
  return ahead_ == ReadAhead::no || to.size() > small_read_bytes ? host_.read(offset, to)
                                                                 : read_ahead(offset, to);
}

// What it is, and whether others keep some of it, is known already: it was asked for its size.
Or<std::uint64_t> HostFile::load(std::uint64_t offset, std::span<std::byte> to) {
  HostContent* const kept = content();
  return kept == nullptr ? host_.read(offset, to) : kept->load(host_, offset, to);
}

Or<std::uint64_t> HostFile::read_ahead(std::uint64_t offset, std::span<std::byte> to) {
  if (!kept_) {
    kept_ = std::make_unique<Ahead>();
  }
  Ahead& kept = *kept_;
  const std::uint64_t now_ns = machine_.now_ns();
  // The end may have moved: what is not there is asked for.
  const bool known = now_ns < kept.until_ns && offset >= kept.offset &&
                     offset - kept.offset + to.size() <= kept.bytes;
  if (!known) {
    kept.until_ns = 0;
    const Or<std::uint64_t> got = host_.read(offset, kept.content);
    if (!got) {
      return got;
    }
    kept.offset = offset;
    kept.bytes = *got;
    kept.until_ns = now_ns + LookUpCache::lifetime_ns;
  }
  const std::uint64_t bytes =
      std::min<std::uint64_t>(to.size(), kept.bytes - (offset - kept.offset));
  std::memcpy(to.data(), kept.content.data() + (offset - kept.offset), bytes);
  return bytes;
}

Or<std::uint64_t> HostFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  if (own_ == nullptr) {
    return host_.write(offset, from);
  }
  const HostContent::When when =
      when_ == HostContent::When::at_once ? when_ : contents_.when_to_write(*own_, host_);
  return own_->write(host_, offset, from, machine_.now_ns(), when);
}

Or<std::uint64_t> HostFile::append(std::span<const std::byte> from, std::uint64_t& end) {
  if (own_ != nullptr) {
    return own_->append(host_, from, end);
  }
  const Or<std::uint64_t> put = host_.append(from);
  const Or<abi::FileStat> is = host_.stat();
  end = is ? is->bytes : put.value_or(0);
  return put;
}

// ---- what it is --------------------------------------------------------------------------------

Or<abi::FileStat> HostFile::stat() {
  HostContent* const kept = content();
  return kept == nullptr ? host_.stat() : kept->stat(host_);
}

Or<std::uint64_t> HostFile::bytes() {
  HostContent* const kept = content();
  return kept != nullptr && kept->is_dirty() ? kept->bytes() : File::bytes();
}

Or<abi::FileSpace> HostFile::space() {
  return host_.space();
}

Or<std::uint64_t> HostFile::list(std::uint64_t& position, std::span<std::byte> to) {
  if (!is_folder()) {
    return std::unexpected(ENOTDIR);
  }
  if (position != listed_to_) {
    const Or<std::uint64_t> moved =
        host_.ask({.operation = abi::FileOperation::seek_list, .offset = position});
    if (!moved) {
      return moved;
    }
    listed_to_ = position;
  }
  const Or<std::uint64_t> got =
      host_.ask({.operation = abi::FileOperation::list,
                 .buffer_gpa = address_of(to.data()),
                 .buffer_bytes = std::min<std::uint64_t>(to.size(), abi::file_transfer_bytes)});
  // The last entry says where the list is now.
  for (std::uint64_t at = 0; got && at + abi::directory_entry_name < *got;) {
    abi::DirectoryEntry entry;
    std::memcpy(static_cast<void*>(&entry), to.data() + at, abi::directory_entry_name);
    position = entry.next;
    at += std::max<std::uint64_t>(entry.bytes, abi::directory_entry_name);
  }
  listed_to_ = position;
  return got;
}

// ---- changes of it -----------------------------------------------------------------------------

int HostFile::truncate(std::uint64_t bytes) {
  return own_ == nullptr ? host_.truncate(bytes) : own_->truncate(host_, bytes);
}

int HostFile::allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t bytes) {
  if (kind_ != Kind::regular) {
    return ENODEV;
  }
  return own_ == nullptr ? host_.allocate(mode, offset, bytes)
                         : own_->allocate(host_, mode, offset, bytes);
}

// What waits would change the times afterwards.
int HostFile::change_attributes(const abi::FileCall& call) {
  if (HostContent* const kept = content()) {
    kept->write_out();
  }
  return host_.change(call);
}

int HostFile::set_mode(std::uint32_t mode) {
  return change_attributes({.operation = abi::FileOperation::set_mode, .mode = mode});
}

int HostFile::set_times(const abi::FileTimes& times) {
  return change_attributes({.operation = abi::FileOperation::set_times,
                            .buffer_gpa = address_of(&times),
                            .buffer_bytes = sizeof times});
}

int HostFile::set_owner(const abi::FileOwner& owner) {
  return change_attributes({.operation = abi::FileOperation::set_owner,
                            .buffer_gpa = address_of(&owner),
                            .buffer_bytes = sizeof owner});
}

// Nothing depends on the answer.
void HostFile::tell_code(std::uint64_t address, std::uint64_t offset, std::uint64_t bytes) {
  static_cast<void>(host_.change({.operation = abi::FileOperation::code,
                                  .offset = offset,
                                  .buffer_gpa = address,
                                  .length = bytes}));
}

} // namespace guest::linux
