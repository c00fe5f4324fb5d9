// SPDX-License-Identifier: MIT
#include "vmm/memory/resident_meter.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

namespace vmm {
namespace {

constexpr std::size_t text_capacity = std::size_t{16} << 10;
// st_blocks counts these whatever the block size of the file system.
constexpr std::uint64_t stat_block_bytes = 512;

bool fits(ResidentMethod method, Backing backing) {
  const bool has_file = backing == Backing::memfd || backing == Backing::hugetlb;
  return has_file == (method == ResidentMethod::file_blocks);
}

std::uint64_t address_of(const std::byte* pointer) {
  // Justified: /proc speaks of addresses as numbers.
  return reinterpret_cast<std::uintptr_t>(pointer);
}

// What one line of smaps says about the address range looked for.
class SmapsLines {
 public:
  SmapsLines(std::uint64_t start, std::uint64_t end) : start_(start), end_(end) {}

  void line(std::string_view text) {
    constexpr std::string_view rss = "Rss:";
    if (text.starts_with(rss)) {
      if (inside_) {
        resident_bytes_ += 1024 * number(text.substr(rss.size()), 10);
      }
      return;
    }
    // A VMA begins with "start-end "; field names begin with a capital letter.
    const std::size_t dash = text.find('-');
    if (text.empty() || (text[0] >= 'A' && text[0] <= 'Z') || dash == std::string_view::npos) {
      return;
    }
    const std::uint64_t vma_start = number(text.substr(0, dash), 16);
    const std::uint64_t vma_end = number(text.substr(dash + 1), 16);
    past_ = vma_start >= end_;
    inside_ = vma_start >= start_ && vma_end <= end_;
  }

  [[nodiscard]] bool past() const { return past_; }
  [[nodiscard]] std::uint64_t resident_bytes() const { return resident_bytes_; }

 private:
  static std::uint64_t number(std::string_view text, int base) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
  }

  std::uint64_t start_;
  std::uint64_t end_;
  std::uint64_t resident_bytes_ = 0;
  bool inside_ = false;
  bool past_ = false;
};

} // namespace

Result<ResidentMeter> ResidentMeter::create(const GuestMemory& memory, FrameScan* scan) {
  if (fits(ResidentMethod::file_blocks, memory.backing())) {
    return create(memory, scan, ResidentMethod::file_blocks);
  }
  return create(memory, scan, scan != nullptr ? ResidentMethod::page_scan : ResidentMethod::smaps);
}

Result<ResidentMeter> ResidentMeter::create(const GuestMemory& memory, FrameScan* scan,
                                            ResidentMethod method) {
  if (!fits(method, memory.backing())) {
    return environment_error("resident bytes of {} memory cannot be measured that way",
                             name_of(memory.backing()));
  }
  if (method == ResidentMethod::page_scan && scan == nullptr) {
    return environment_error("this kernel has no PAGEMAP_SCAN to measure resident memory with");
  }
  ResidentMeter meter(memory, scan, method);
  if (auto own_scan = FrameScan::create_of_own_area(memory)) {
    meter.own_scan_ = std::move(*own_scan);
  }
  if (method == ResidentMethod::smaps || !meter.own_scan_) {
    EBB_TRY(meter.open_smaps());
    EBB_TRY(meter.sample_smaps(meter.ram_));
  }
  return meter;
}

Result<void> ResidentMeter::open_smaps() {
  constexpr const char* path = "/proc/self/smaps";
  smaps_ = UniqueFd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!smaps_.valid()) {
    return system_error("cannot open {} to measure resident memory", path);
  }
  text_.resize(text_capacity);
  return {};
}

ResidentMeter::ResidentMeter(const GuestMemory& memory, FrameScan* scan, ResidentMethod method)
    : ram_{address_of(memory.base()), address_of(memory.base()) + memory.mapped_bytes()},
      own_{address_of(memory.own_area().data()),
           address_of(memory.own_area().data()) + memory.own_area().size()},
      memory_fd_(memory.fd()), scan_(scan), method_(method) {}

Result<std::uint64_t> ResidentMeter::sample(std::uint64_t now_ns, Occasion occasion) {
  EBB_TRY_ASSIGN(ram, sample_ram(now_ns, occasion));
  EBB_TRY_ASSIGN(own, sample_own_area(now_ns, occasion));
  return ram + own;
}

Result<std::uint64_t> ResidentMeter::sample_own_area(std::uint64_t now_ns, Occasion occasion) {
  if (own_.start == own_.end) {
    return std::uint64_t{0};
  }
  return own_scan_ ? own_scan_->pass(now_ns, occasion) : sample_smaps(own_);
}

Result<std::uint64_t> ResidentMeter::sample_ram(std::uint64_t now_ns, Occasion occasion) {
  if (method_ == ResidentMethod::page_scan) {
    return scan_->pass(now_ns, occasion);
  }
  if (scan_ != nullptr) {
    // What a watcher misses, it sees in a later pass.
    static_cast<void>(scan_->pass_for_watchers(now_ns, occasion));
  }
  return method_ == ResidentMethod::smaps ? sample_smaps(ram_) : sample_file_blocks();
}

Result<std::uint64_t> ResidentMeter::sample_smaps(Range range) {
  SmapsLines lines(range.start, range.end);
  off_t offset = 0;
  std::size_t held = 0; // bytes of an unfinished line at the front of text_
  while (!lines.past()) {
    const ssize_t got = ::pread(smaps_.get(), text_.data() + held, text_.size() - held, offset);
    if (got < 0) {
      return system_error("cannot read /proc/self/smaps");
    }
    if (got == 0) {
      break;
    }
    offset += got;
    std::string_view rest(text_.data(), held + static_cast<std::size_t>(got));
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos && !lines.past();
         end = rest.find('\n')) {
      lines.line(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    // A line longer than the buffer can only be the path of a file that is not ours.
    held = rest.size() == text_.size() ? 0 : rest.size();
    std::memmove(text_.data(), rest.data(), held);
  }
  return lines.resident_bytes();
}

Result<std::uint64_t> ResidentMeter::sample_file_blocks() const {
  struct stat status {};
  // By number: the C library makes it a call that also takes paths, which the sandbox forbids.
  if (::syscall(SYS_fstat, memory_fd_, &status) != 0) {
    return system_error("cannot read the size of the memory file");
  }
  return static_cast<std::uint64_t>(status.st_blocks) * stat_block_bytes;
}

} // namespace vmm
