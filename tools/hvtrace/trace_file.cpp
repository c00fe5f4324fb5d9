// SPDX-License-Identifier: MIT
#include "tools/hvtrace/trace_file.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hvtrace {
namespace {

using vmm::user_error;

// How far reading goes on before pages are released: 40 MB.
constexpr std::uint64_t release_records = std::uint64_t{1} << 20;

// A text field that may lack its NUL.
template <std::size_t Size> void terminate(char (&text)[Size]) {
  text[Size - 1] = '\0';
}

vmm::Result<void> check_header(const abi::TraceHeader& header, const std::string& name) {
  if (header.version_major != abi::trace_version_major) {
    return user_error("{}: trace version {}.{}; this hvtrace reads {}.x", name,
                      header.version_major, header.version_minor, abi::trace_version_major);
  }
  if (header.header_bytes < sizeof(abi::TraceHeader) ||
      header.header_bytes % alignof(abi::TraceRecord) != 0 ||
      header.record_bytes != sizeof(abi::TraceRecord) ||
      header.event_count > abi::trace_event_slots) {
    return user_error("{}: damaged trace header: {} header bytes, {} record bytes, {} events", name,
                      header.header_bytes, header.record_bytes, header.event_count);
  }
  if (header.ram_bytes == 0 || header.ram_bytes > max_ram_bytes ||
      header.ram_bytes % abi::page_bytes != 0 || header.vcpus == 0 ||
      header.vcpus > EBB_MAX_VCPUS) {
    return user_error("{}: damaged trace header: {} bytes of RAM, {} vCPUs", name, header.ram_bytes,
                      header.vcpus);
  }
  const bool is_ring = header.storage == abi::TraceStorage::ring;
  if ((!is_ring && header.storage != abi::TraceStorage::file) ||
      (is_ring && header.capacity == 0) || header.level > abi::TraceLevel::all) {
    return user_error("{}: damaged trace header: storage {}, capacity {}, level {}", name,
                      static_cast<std::uint32_t>(header.storage), header.capacity,
                      static_cast<std::uint32_t>(header.level));
  }
  return {};
}

} // namespace

vmm::Result<TraceFile> TraceFile::open(const std::string& path) {
  EBB_TRY_ASSIGN(mapped, vmm::MappedFile::open(path, ~std::uint64_t{0}));
  mapped.expect_one_pass(); // a killed vmm may leave gigabytes
  EBB_TRY_ASSIGN(file, parse(mapped.bytes(), path));
  file.mapped_ = std::move(mapped);
  if (file.header().storage == abi::TraceStorage::file) {
    file.window_records_ = release_records;
  }
  return file;
}

vmm::Result<TraceFile> TraceFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  const std::size_t magic_bytes = std::min(bytes.size(), sizeof(std::uint64_t));
  if (magic_bytes == 0 || std::memcmp(bytes.data(), &abi::trace_magic, magic_bytes) != 0) {
    return user_error("{}: not a hypercall trace: it does not begin with EBBTRACE", name);
  }
  if (bytes.size() < sizeof(abi::TraceHeader)) {
    return user_error("{}: truncated trace: {} bytes of a {} byte header", name, bytes.size(),
                      sizeof(abi::TraceHeader));
  }
  TraceFile file;
  file.header_ = std::make_unique<abi::TraceHeader>();
  abi::TraceHeader& header = *file.header_;
  std::memcpy(&header, bytes.data(), sizeof header);
  EBB_TRY(check_header(header, name));
  if (bytes.size() < header.header_bytes) {
    return user_error("{}: truncated trace: {} bytes of a {} byte header", name, bytes.size(),
                      header.header_bytes);
  }
  if (header.lost != 0) { // older writers closed such a trace as if it were whole
    header.finished = 0;
  }
  terminate(header.backing);
  terminate(header.discard);
  terminate(header.host);
  terminate(header.image);
  for (abi::TraceEventInfo& info : header.events) {
    terminate(info.name);
    terminate(info.address);
    terminate(info.value);
    terminate(info.count);
    terminate(info.order);
    terminate(info.detail);
  }
  file.records_ = bytes.data() + header.header_bytes;
  const std::uint64_t room = (bytes.size() - header.header_bytes) / sizeof(abi::TraceRecord);
  file.slots_ = room;
  // Far below overflow, whatever the header says.
  const std::uint64_t claimed = std::min(header.claimed, ~std::uint64_t{0} >> 1);
  file.end_ = claimed + 1;
  if (header.storage == abi::TraceStorage::ring) {
    if (room < header.capacity) {
      return user_error("{}: truncated trace: {} of the {} records of its ring", name, room,
                        header.capacity);
    }
    file.slots_ = header.capacity;
    file.first_ = claimed > header.capacity ? claimed - header.capacity + 1 : 1;
  } else if (claimed > room) {
    file.cut_off_ = claimed - room;
    file.end_ = room + 1;
  }
  return file;
}

std::optional<abi::TraceRecord> TraceFile::at(std::uint64_t number) const {
  if (number < first_ || number >= end_) {
    return std::nullopt;
  }
  if (number - window_start_ >= window_records_) [[unlikely]] {
    release_before(number);
  }
  abi::TraceRecord record;
  std::memcpy(&record, records_ + (number - 1) % slots_ * sizeof record, sizeof record);
  if (record.sequence != number) {
    return std::nullopt;
  }
  return record;
}

void TraceFile::release_before(std::uint64_t number) const {
  window_start_ = number;
  mapped_->release(header_->header_bytes + (number - 1) * sizeof(abi::TraceRecord));
}

} // namespace hvtrace
