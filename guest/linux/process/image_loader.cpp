// SPDX-License-Identifier: MIT
#include "guest/linux/process/image_loader.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace guest::linux {

namespace {

constexpr std::size_t head_bytes = 64; // of an ELF file

} // namespace

Or<ElfImage> ImageLoader::parse(File& file, Text* linker) {
  const auto read = [&file](std::uint64_t offset, std::span<std::byte> to) {
    return file.read(offset, to) == Or<std::uint64_t>(to.size());
  };
  std::array<std::byte, head_bytes> head{};
  if (!read(0, head)) {
    return std::unexpected(ENOEXEC);
  }
  const auto table = ElfImage::header_table(head);
  if (!table) {
    return std::unexpected(table.error());
  }
  std::array<std::byte, abi::page_bytes> headers{};
  if (!read(table->offset, std::span(headers).first(table->bytes))) {
    return std::unexpected(ENOEXEC);
  }
  const auto image = ElfImage::parse(head, std::span(headers).first(table->bytes));
  if (!image) {
    return std::unexpected(image.error());
  }
  if (image->linker_bytes() != 0) {
    if (linker == nullptr) {
      return std::unexpected(ELIBBAD);
    }
    linker->resize(image->linker_bytes());
    if (!read(image->linker_offset(), std::as_writable_bytes(std::span(*linker))) ||
        linker->back() != '\0') {
      return std::unexpected(ENOEXEC);
    }
    linker->pop_back();
  }
  return *image;
}

Or<std::uint64_t> ImageLoader::map(const std::shared_ptr<File>& file, const ElfImage& image) {
  const std::uint64_t bytes = image.end() - image.start();
  const Or<std::uint64_t> place = image.movable()
                                      ? memory_.map(bytes, read_write, Commitment::none)
                                      : memory_.map_free(image.start(), bytes, read_write);
  if (!place) {
    return std::unexpected(ENOMEM);
  }
  const std::uint64_t base = *place - image.start();
  int error = load_segments(file, image, base);
  if (error == 0) {
    error = protect_segments(image, base);
  }
  if (error != 0) {
    return std::unexpected(error);
  }
  return base;
}

// Segments may share a page, which has the rights of both then. What is between them goes.
int ImageLoader::protect_segments(const ElfImage& image, std::uint64_t base) {
  std::uint64_t end_before = image.start() + base;
  Protection protection_before = protection_none;
  for (const ElfSegment& segment : image.segments()) {
    const std::uint64_t first = base + segment.address;
    std::uint64_t start = abi::align_down(first, abi::page_bytes);
    const std::uint64_t end = abi::align_up(first + segment.memory_bytes, abi::page_bytes);
    if (start < end_before) {
      const int error =
          memory_.protect(start, abi::page_bytes, segment.protection | protection_before);
      if (error != 0) {
        return error;
      }
      start = end_before;
    } else if (start > end_before) {
      static_cast<void>(memory_.unmap(end_before, start - end_before));
    }
    if (start < end) {
      if (const int error = memory_.protect(start, end - start, segment.protection); error != 0) {
        return error;
      }
    }
    end_before = end;
    protection_before = segment.protection;
  }
  return 0;
}

int ImageLoader::show_segment(const std::shared_ptr<File>& file, const ElfSegment& segment,
                              std::uint64_t start, std::uint64_t end, std::uint64_t base) {
  const Content content = files_.add(file, segment.file_offset + (start - base - segment.address));
  const Or<std::uint64_t> place = memory_.map_at(start, end - start, read_write, content);
  if (!place) {
    memory_.forget_unless_shown(content);
    return place.error();
  }
  return end - start <= file_at_once_bytes ? memory_.populate(start, end - start) : 0;
}

// The memory is the program's and zero.
int ImageLoader::read_segment(File& file, const ElfSegment& segment, std::uint64_t start,
                              std::uint64_t end, std::uint64_t base) {
  if (start >= end) {
    return 0;
  }
  const std::uint64_t page = abi::align_down(start, abi::page_bytes);
  if (memory_.populate(page, end - page) != 0) {
    return ENOMEM;
  }
  auto* const to = reinterpret_cast<std::byte*>(start); // NOLINT(performance-no-int-to-ptr)
  const Or<std::uint64_t> got =
      file.read(segment.file_offset + (start - base - segment.address), {to, end - start});
  if (!got) {
    return got.error();
  }
  return *got == end - start ? 0 : ENOEXEC;
}

int ImageLoader::load_segments(const std::shared_ptr<File>& file, const ElfImage& image,
                               std::uint64_t base) {
  for (const ElfSegment& segment : image.segments()) {
    const std::uint64_t start = base + segment.address;
    const std::uint64_t end = start + segment.file_bytes;
    const bool can_show = (start - segment.file_offset) % abi::page_bytes == 0;
    const std::uint64_t shown_end = can_show ? abi::align_down(end, abi::page_bytes) : start;
    const std::uint64_t shown = std::min(abi::align_up(start, abi::page_bytes), shown_end);
    int error = 0;
    if (shown < shown_end) {
      error = show_segment(file, segment, shown, shown_end, base);
      error = error != 0 ? error : read_segment(*file, segment, start, shown, base);
    }
    error = error != 0
                ? error
                : read_segment(*file, segment, shown < shown_end ? shown_end : start, end, base);
    if (error != 0) {
      return error;
    }
  }
  return 0;
}

} // namespace guest::linux
