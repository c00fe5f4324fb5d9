// SPDX-License-Identifier: MIT
#include "guest/linux/files/pipe.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t pipe_device = 4;
constexpr std::uint64_t pipe_system = 0x50495045; // PIPEFS_MAGIC
constexpr std::uint64_t usual_bytes = 65536;      // as Linux has them
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 20;

} // namespace

// Bytes that wait, in a ring.
class PipeRing {
 public:
  explicit PipeRing(std::uint64_t capacity)
      : capacity_(capacity), ring_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {}

  [[nodiscard]] std::uint64_t capacity() const { return capacity_; }
  [[nodiscard]] std::uint64_t bytes() const { return put_ - taken_; }
  [[nodiscard]] std::uint64_t room() const { return capacity_ - bytes(); }

  // As many as there are, or as there is room for.
  std::uint64_t copy_to(std::span<std::byte> to) const {
    const std::uint64_t whole = std::min<std::uint64_t>(to.size(), bytes());
    const std::uint64_t at = taken_ % capacity_;
    const std::uint64_t first = std::min(whole, capacity_ - at);
    copy(to.data(), ring_.get() + at, first);
    copy(to.data() + first, ring_.get(), whole - first);
    return whole;
  }
  void take(std::uint64_t bytes) { taken_ += bytes; }
  std::uint64_t put(std::span<const std::byte> from) {
    const std::uint64_t whole = std::min<std::uint64_t>(from.size(), room());
    const std::uint64_t at = put_ % capacity_;
    const std::uint64_t first = std::min(whole, capacity_ - at);
    copy(ring_.get() + at, from.data(), first);
    copy(ring_.get(), from.data() + first, whole - first);
    put_ += whole;
    return whole;
  }

 private:
  static void copy(std::byte* to, const std::byte* from, std::uint64_t bytes) {
    if (bytes != 0) {
      std::memcpy(to, from, bytes);
    }
  }

  std::uint64_t capacity_;
  std::uint64_t taken_ = 0; // ever
  std::uint64_t put_ = 0;
  std::unique_ptr<std::byte[]> ring_;
};

struct Pipe {
  explicit Pipe(std::uint64_t number) : inode(number) {}

  // Those who have an end open, and how often one was opened.
  struct Users {
    std::uint32_t now = 0;
    std::uint64_t ever = 0;

    void add() {
      ++now;
      ++ever;
    }
  };

  std::uint64_t inode;
  std::uint32_t mode = S_IFIFO | 0600U;
  abi::FileOwner owner{0, 0};
  Users readers;
  Users writers;
  std::uint64_t arrivals = 0; // of bytes, and the end of a writer
  std::uint64_t releases = 0; // of room where there was none, and the end of a reader
  PipeRing ring{usual_bytes};

  [[nodiscard]] bool is_writable() const { return ring.room() >= abi::page_bytes; }
};

namespace {

// One end, or both.
class PipeEnd final : public File {
 public:
  // `named`: null, or whoever answers for the attributes.
  PipeEnd(std::shared_ptr<Pipe> pipe, PipeAccess access, std::unique_ptr<File> named)
      : pipe_(std::move(pipe)), named_(std::move(named)), reads_(access != PipeAccess::write),
        writes_(access != PipeAccess::read) {
    if (reads_) {
      pipe_->readers.add();
    }
    if (writes_) {
      pipe_->writers.add();
    }
    others_before_ = others().now != 0 ? met_at_once : others().ever;
  }
  ~PipeEnd() override {
    pipe_->readers.now -= reads_ ? 1 : 0;
    pipe_->writers.now -= writes_ ? 1 : 0;
    ++pipe_->arrivals;
    ++pipe_->releases;
  }

  // ---- what it is
  [[nodiscard]] Or<abi::FileStat> stat() override {
    if (named_ != nullptr) {
      return named_->stat();
    }
    return abi::FileStat{.device = pipe_device,
                         .inode = pipe_->inode,
                         .links = 1,
                         .mode = pipe_->mode,
                         .user = pipe_->owner.user,
                         .group = pipe_->owner.group,
                         .block_bytes = abi::page_bytes};
  }
  [[nodiscard]] Or<abi::FileSpace> space() override {
    return named_ != nullptr ? named_->space()
                             : abi::FileSpace{.type = pipe_system,
                                              .block_bytes = abi::page_bytes,
                                              .name_bytes = 255};
  }
  [[nodiscard]] int set_mode(std::uint32_t mode) override {
    if (named_ != nullptr) {
      return named_->set_mode(mode);
    }
    pipe_->mode = S_IFIFO | mode;
    return 0;
  }
  [[nodiscard]] int set_times(const abi::FileTimes& times) override {
    return named_ != nullptr ? named_->set_times(times) : EPERM;
  }
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override {
    if (named_ != nullptr) {
      return named_->set_owner(owner);
    }
    abi::FileOwner& is = pipe_->owner;
    is.user = owner.user == abi::file_owner_kept ? is.user : owner.user;
    is.group = owner.group == abi::file_owner_kept ? is.group : owner.group;
    return 0;
  }
  [[nodiscard]] bool is_stream() const override { return true; }
  [[nodiscard]] bool is_pollable() override { return true; }
  [[nodiscard]] Or<std::uint64_t> readable_bytes() override { return pipe_->ring.bytes(); }
  [[nodiscard]] Or<std::uint64_t> capacity() override { return pipe_->ring.capacity(); }
  [[nodiscard]] Or<std::uint64_t> set_capacity(std::uint64_t bytes) override {
    if (bytes > std::uint64_t{1} << 31) {
      return std::unexpected(EINVAL);
    }
    const std::uint64_t whole = std::bit_ceil(std::max<std::uint64_t>(bytes, abi::page_bytes));
    if (whole > most_bytes) {
      return std::unexpected(EPERM);
    }
    if (whole < pipe_->ring.bytes()) {
      return std::unexpected(EBUSY);
    }
    const bool was_writable = pipe_->is_writable();
    PipeRing next(whole);
    std::vector<std::byte> content(pipe_->ring.bytes());
    next.put(std::span(content).first(pipe_->ring.copy_to(content)));
    pipe_->ring = std::move(next);
    count_room(was_writable);
    return whole;
  }

  // ---- what goes through it
  [[nodiscard]] Or<std::uint64_t> peek(std::span<std::byte> to) override {
    if (!reads_) {
      return std::unexpected(EINVAL);
    }
    if (pipe_->ring.bytes() == 0 && !to.empty() && pipe_->writers.now != 0) {
      return std::unexpected(EAGAIN);
    }
    return pipe_->ring.copy_to(to);
  }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/, std::span<std::byte> to) override {
    Or<std::uint64_t> got = peek(to);
    const bool was_writable = pipe_->is_writable();
    pipe_->ring.take(got.value_or(0));
    count_room(was_writable);
    return got;
  }
  // What is not larger than a page goes whole or not at all.
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t /*offset*/,
                                        std::span<const std::byte> from) override {
    if (!writes_) {
      return std::unexpected(EINVAL);
    }
    if (pipe_->readers.now == 0) {
      return std::unexpected(EPIPE);
    }
    const std::uint64_t room = pipe_->ring.room();
    if (!from.empty() && (room == 0 || (from.size() <= abi::page_bytes && room < from.size()))) {
      return std::unexpected(EAGAIN);
    }
    pipe_->arrivals += from.empty() ? 0 : 1;
    return pipe_->ring.put(from);
  }

  // ---- when
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override {
    Readiness is = is_met() ? file_met & wanted : 0;
    if (reads_) {
      is |= pipe_->ring.bytes() != 0 ? abi::file_readable & wanted : 0;
      is |= pipe_->writers.now == 0 && is_met() ? abi::file_hung_up : 0U;
    }
    if (writes_) {
      is |= pipe_->is_writable() ? abi::file_writable & wanted : 0;
      is |= pipe_->readers.now == 0 && is_met() ? file_failed : 0U;
    }
    return is;
  }
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override {
    const bool of_bytes = reads_ && ((wanted & abi::file_readable) != 0 || pipe_->writers.now == 0);
    const bool of_room = writes_ && ((wanted & abi::file_writable) != 0 || pipe_->readers.now == 0);
    return (of_bytes ? pipe_->arrivals : 0) + (of_room ? pipe_->releases : 0);
  }

 private:
  static constexpr std::uint64_t met_at_once = ~std::uint64_t{0};

  [[nodiscard]] const Pipe::Users& others() const {
    return reads_ ? pipe_->writers : pipe_->readers;
  }
  [[nodiscard]] bool is_met() const { return others().ever != others_before_; }
  void count_room(bool was_writable) {
    pipe_->releases += !was_writable && pipe_->is_writable() ? 1 : 0;
  }

  std::shared_ptr<Pipe> pipe_;
  std::unique_ptr<File> named_;
  bool reads_;
  bool writes_;
  std::uint64_t others_before_; // how often it had been opened; met_at_once: it is open
};

} // namespace

PipeEnds make_pipe(std::uint64_t inode) {
  const std::shared_ptr<Pipe> pipe(new Pipe(inode));
  return {new PipeEnd(pipe, PipeAccess::read, nullptr),
          new PipeEnd(pipe, PipeAccess::write, nullptr)};
}

File* NamedPipe::open(PipeAccess access, File* named) {
  std::shared_ptr<Pipe> pipe = pipe_.lock();
  if (pipe == nullptr) {
    pipe.reset(new Pipe(0));
    pipe_ = pipe;
  }
  return new PipeEnd(std::move(pipe), access, std::unique_ptr<File>(named));
}

} // namespace guest::linux
