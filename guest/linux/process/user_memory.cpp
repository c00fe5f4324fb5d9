// SPDX-License-Identifier: MIT
#include "guest/linux/process/user_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/base/highest_address.hpp"
#include "shared/file_call.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t longest_path = abi::file_path_bytes;           // without its NUL
constexpr std::uint64_t longest_string = (std::uint64_t{1} << 17) - 1; // MAX_ARG_STRLEN of Linux
constexpr std::uint64_t max_vectors = 1024;                            // UIO_MAXIOV

} // namespace

bool UserMemory::may_read(std::uint64_t address, std::uint64_t bytes) const {
  return memory_.allows(address, bytes, PROT_READ);
}

bool UserMemory::may_write(std::uint64_t address, std::uint64_t bytes) const {
  return memory_.allows(address, bytes, PROT_WRITE);
}

// ---- in place ----------------------------------------------------------------------------------

Or<std::span<std::byte>> UserMemory::room_at(std::uint64_t address, std::uint64_t bytes) const {
  if (!may_write(address, bytes) || !memory_.shows(address, bytes)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<std::byte*>(address), bytes}; // NOLINT
}

Or<std::span<const std::byte>> UserMemory::data_at(std::uint64_t address,
                                                   std::uint64_t bytes) const {
  if (!may_read(address, bytes) || !memory_.shows(address, bytes)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<const std::byte*>(address), bytes}; // NOLINT
}

std::uint64_t UserMemory::part_at(std::uint64_t address, std::uint64_t bytes,
                                  Protection rights) const {
  const bool is_possible = bytes <= highest_address && address <= highest_address - bytes;
  return is_possible ? memory_.allowed_bytes(address, std::min(bytes, max_transfer_bytes), rights)
                     : 0;
}

Or<std::span<std::byte>> UserMemory::room_from(std::uint64_t address, std::uint64_t bytes) const {
  const std::uint64_t most = part_at(address, bytes, PROT_WRITE);
  if (most == 0) {
    return room_at(address, bytes);
  }
  if (!memory_.shows(address, most)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<std::byte*>(address), most}; // NOLINT
}

Or<std::span<const std::byte>> UserMemory::data_from(std::uint64_t address,
                                                     std::uint64_t bytes) const {
  const std::uint64_t most = part_at(address, bytes, PROT_READ);
  if (most == 0) {
    return data_at(address, bytes);
  }
  if (!memory_.shows(address, most)) {
    return std::unexpected(EFAULT);
  }
  return std::span{reinterpret_cast<const std::byte*>(address), most}; // NOLINT
}

// ---- strings -----------------------------------------------------------------------------------

Or<std::string_view> UserMemory::path_at(std::uint64_t address) const {
  return string_at(address, longest_path, ENAMETOOLONG);
}

Or<std::string_view> UserMemory::string_at(std::uint64_t address, std::uint64_t longest,
                                           int too_long) const {
  const std::uint64_t readable = memory_.allowed_bytes(address, longest + 1, PROT_READ);
  if (readable == 0) {
    return std::unexpected(EFAULT);
  }
  const auto* const text =
      reinterpret_cast<const char*>(address); // NOLINT(performance-no-int-to-ptr)
  const void* const end = std::memchr(text, 0, readable);
  if (end == nullptr) {
    return std::unexpected(readable > longest ? too_long : EFAULT);
  }
  return std::string_view(text, static_cast<const char*>(end));
}

int UserMemory::add_strings(std::uint64_t array, Text& to, std::uint32_t& count,
                            std::uint64_t& bytes) const {
  for (count = 0; array != 0; ++count) { // no array: as if it were empty
    std::uint64_t address = 0;
    if (!fetch(array + count * sizeof address, address)) {
      return EFAULT;
    }
    if (address == 0) {
      break;
    }
    const Or<std::string_view> text = string_at(address, longest_string, E2BIG);
    if (!text) {
      return text.error();
    }
    const std::uint64_t takes = text->size() + 1 + sizeof address;
    if (takes > bytes) {
      return E2BIG;
    }
    bytes -= takes;
    append(to, *text);
    to.push_back('\0');
  }
  return 0;
}

// ---- vectors -----------------------------------------------------------------------------------

// All of the vectors are looked at before anything is moved.
Or<std::vector<iovec>> UserMemory::vectors_at(std::uint64_t address, std::uint64_t count) const {
  if (count > max_vectors) {
    return std::unexpected(EINVAL);
  }
  std::vector<iovec> parts(count);
  for (iovec& part : parts) {
    if (!fetch(address, part)) {
      return std::unexpected(EFAULT);
    }
    address += sizeof part;
  }
  for (const iovec& part : parts) {
    const auto base = reinterpret_cast<std::uint64_t>(part.iov_base);
    if (static_cast<std::int64_t>(part.iov_len) < 0) {
      return std::unexpected(EINVAL);
    }
    if (part.iov_len > highest_address || base > highest_address - part.iov_len) {
      return std::unexpected(EFAULT);
    }
  }
  return parts;
}

} // namespace guest::linux
