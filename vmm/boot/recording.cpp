// SPDX-License-Identifier: MIT
#include "vmm/boot/recording.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <lzma.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/address.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/base/units.hpp"

namespace vmm {
namespace {

constexpr std::size_t chunk_bytes = 256 * kib;
// The largest preset of xz needs 65 MiB to decompress.
constexpr std::uint64_t decoder_limit_bytes = 256 * mib;
constexpr std::array<unsigned char, 6> xz_magic{0xfd, '7', 'z', 'X', 'Z', 0x00};

// Fills a span with what comes next; less than the span's size only at the end.
class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
};

// The file as it is, with a look at its first bytes.
class FileSource final : public ByteSource {
 public:
  FileSource(UniqueFd fd, const std::string& name) : fd_(std::move(fd)), name_(name) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    std::size_t done = std::min(peeked_.size(), into.size());
    std::copy_n(peeked_.begin(), done, into.begin());
    peeked_.erase(peeked_.begin(), peeked_.begin() + static_cast<std::ptrdiff_t>(done));
    while (done < into.size()) {
      const ssize_t got = ::read(fd_.get(), into.data() + done, into.size() - done);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        return user_error("{}: cannot be read: {}", name_, std::generic_category().message(errno));
      }
      if (got == 0) {
        break;
      }
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  // The first bytes, which read() will deliver again. To be called once, before read().
  Result<std::span<const std::byte>> peek(std::size_t bytes) {
    std::vector<std::byte> first(bytes);
    EBB_TRY_ASSIGN(got, read(first));
    first.resize(got);
    peeked_ = std::move(first);
    return std::span<const std::byte>(peeked_);
  }

 private:
  UniqueFd fd_;
  std::string name_;
  std::vector<std::byte> peeked_;
};

struct StreamEnd {
  void operator()(lzma_stream* stream) const {
    lzma_end(stream);
    std::default_delete<lzma_stream>{}(stream);
  }
};

// Decompresses another source.
class XzSource final : public ByteSource {
 public:
  static Result<std::unique_ptr<ByteSource>> open(std::unique_ptr<ByteSource> compressed,
                                                  const std::string& name) {
    std::unique_ptr<XzSource> source(new XzSource(std::move(compressed), name));
    // Concatenated streams as xz itself takes them; anything else behind the end is an error.
    const lzma_ret status =
        lzma_stream_decoder(source->stream_.get(), decoder_limit_bytes, LZMA_CONCATENATED);
    if (status != LZMA_OK) {
      return environment_error("liblzma cannot start a decoder (status {})",
                               static_cast<int>(status));
    }
    return source;
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    // SAFETY: liblzma takes bytes as uint8_t, which may alias anything.
    stream_->next_out = reinterpret_cast<std::uint8_t*>(into.data());
    stream_->avail_out = into.size();
    while (stream_->avail_out > 0 && !ended_) {
      if (stream_->avail_in == 0 && !input_ended_) {
        EBB_TRY_ASSIGN(got, compressed_->read(chunk_));
        // SAFETY: as above.
        stream_->next_in = reinterpret_cast<const std::uint8_t*>(chunk_.data());
        stream_->avail_in = got;
        input_ended_ = got < chunk_.size();
      }
      const lzma_ret status = lzma_code(stream_.get(), input_ended_ ? LZMA_FINISH : LZMA_RUN);
      if (status == LZMA_STREAM_END) {
        ended_ = true;
      } else if (status != LZMA_OK) {
        return failure(status);
      }
    }
    return into.size() - stream_->avail_out;
  }

 private:
  XzSource(std::unique_ptr<ByteSource> compressed, const std::string& name)
      : compressed_(std::move(compressed)), name_(name), chunk_(chunk_bytes),
        stream_(new lzma_stream LZMA_STREAM_INIT) {}

  std::unexpected<Error> failure(lzma_ret status) const {
    switch (status) {
    case LZMA_BUF_ERROR:
      return user_error("{}: truncated xz file: it ends at byte {}; fetch it again", name_,
                        stream_->total_in);
    case LZMA_MEMLIMIT_ERROR:
      return user_error("{}: xz file needs more than {} to decompress; compress it with xz -9 or "
                        "less",
                        name_, human_size(decoder_limit_bytes));
    case LZMA_MEM_ERROR:
      return environment_error("{}: no memory to decompress it", name_);
    case LZMA_OPTIONS_ERROR:
      return user_error("{}: xz file uses options that this liblzma does not know; compress it "
                        "again",
                        name_);
    default:
      return user_error("{}: damaged xz file near byte {}; fetch it again", name_,
                        stream_->total_in);
    }
  }

  std::unique_ptr<ByteSource> compressed_;
  std::string name_;
  std::vector<std::byte> chunk_;
  std::unique_ptr<lzma_stream, StreamEnd> stream_;
  bool input_ended_ = false;
  bool ended_ = false;
};

Result<std::unique_ptr<ByteSource>> open_source(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) {
    return user_error("{}: cannot be opened: {}", path, std::generic_category().message(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    return user_error("{}: is a directory; give a page trace", path);
  }
  auto file = std::make_unique<FileSource>(std::move(fd), path);
  EBB_TRY_ASSIGN(first, file->peek(xz_magic.size()));
  if (first.size() == xz_magic.size() &&
      std::memcmp(first.data(), xz_magic.data(), xz_magic.size()) == 0) {
    return XzSource::open(std::move(file), path);
  }
  return file;
}

} // namespace

Result<PageBuffer> PageBuffer::allocate(std::uint64_t bytes) {
  const std::uint64_t whole = abi::align_up(std::max<std::uint64_t>(bytes, 1), abi::page_bytes);
  void* const address = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return system_error("cannot map {} for the input", human_size(whole));
  }
  return PageBuffer(std::span(static_cast<std::byte*>(address), whole));
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept : pages_(std::exchange(other.pages_, {})) {}

PageBuffer& PageBuffer::operator=(PageBuffer&& other) noexcept {
  std::swap(pages_, other.pages_);
  return *this;
}

PageBuffer::~PageBuffer() {
  if (!pages_.empty()) {
    ::munmap(pages_.data(), pages_.size());
  }
}

Result<void> PageBuffer::make_read_only() {
  if (::mprotect(pages_.data(), pages_.size(), PROT_READ) != 0) {
    return system_error("cannot make the input read-only");
  }
  return {};
}

Result<Recording> Recording::load(const std::string& path, std::uint64_t limit_bytes) {
  EBB_TRY_ASSIGN(source, open_source(path));
  std::array<std::byte, sizeof(abi::PageTraceHeader)> first{};
  EBB_TRY_ASSIGN(first_bytes, source->read(first));
  EBB_TRY_ASSIGN(header, parse_recording_header(std::span(first).first(first_bytes), path));
  // The header says how much there must be, so no more than that is ever held.
  const std::uint64_t expected = recording_bytes(header.events);
  if (expected > limit_bytes) {
    return user_error("{}: page trace of {} events takes {}; must be at most {}", path,
                      header.events, human_size(expected), human_size(limit_bytes));
  }
  EBB_TRY_ASSIGN(buffer, PageBuffer::allocate(expected + 1));
  const std::span<std::byte> content = buffer.pages().first(expected + 1);
  std::copy(first.begin(), first.end(), content.begin());
  // One byte more than expected, so that the validator sees data that goes on after the end.
  EBB_TRY_ASSIGN(rest, source->read(content.subspan(first.size())));
  EBB_TRY_ASSIGN(summary, validate_recording(content.first(first.size() + rest), path));
  EBB_TRY(buffer.make_read_only());
  return Recording(std::move(buffer), summary);
}

} // namespace vmm
