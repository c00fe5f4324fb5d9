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

// Bytes that wait, in a ring.
class Ring {
 public:
  explicit Ring(std::uint64_t capacity)
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

  std::uint64_t inode;
  std::uint32_t mode = S_IFIFO | 0600U;
  abi::FileOwner owner{0, 0};
  bool has_reader = true;
  bool has_writer = true;
  std::uint64_t arrivals = 0; // of bytes, and the writer's end
  std::uint64_t releases = 0; // of room where there was none, and the reader's end
  Ring ring{usual_bytes};

  [[nodiscard]] bool is_writable() const { return ring.room() >= abi::page_bytes; }
};

class PipeEnd : public File {
 public:
  explicit PipeEnd(Pipe& pipe) : pipe_(pipe) {}

  [[nodiscard]] Or<abi::FileStat> stat() override {
    return abi::FileStat{.device = pipe_device,
                         .inode = pipe_.inode,
                         .links = 1,
                         .mode = pipe_.mode,
                         .user = pipe_.owner.user,
                         .group = pipe_.owner.group,
                         .block_bytes = abi::page_bytes};
  }
  [[nodiscard]] Or<abi::FileSpace> space() override {
    return abi::FileSpace{.type = pipe_system, .block_bytes = abi::page_bytes, .name_bytes = 255};
  }
  [[nodiscard]] int set_mode(std::uint32_t mode) override {
    pipe_.mode = S_IFIFO | mode;
    return 0;
  }
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override {
    pipe_.owner.user = owner.user == abi::file_owner_kept ? pipe_.owner.user : owner.user;
    pipe_.owner.group = owner.group == abi::file_owner_kept ? pipe_.owner.group : owner.group;
    return 0;
  }
  [[nodiscard]] bool is_stream() const override { return true; }
  [[nodiscard]] bool is_pollable() override { return true; }
  [[nodiscard]] Or<std::uint64_t> readable_bytes() override { return pipe_.ring.bytes(); }
  [[nodiscard]] Or<std::uint64_t> capacity() override { return pipe_.ring.capacity(); }
  [[nodiscard]] Or<std::uint64_t> set_capacity(std::uint64_t bytes) override {
    if (bytes > std::uint64_t{1} << 31) {
      return std::unexpected(EINVAL);
    }
    const std::uint64_t whole = std::bit_ceil(std::max<std::uint64_t>(bytes, abi::page_bytes));
    if (whole > most_bytes) {
      return std::unexpected(EPERM);
    }
    if (whole < pipe_.ring.bytes()) {
      return std::unexpected(EBUSY);
    }
    const bool was_writable = pipe_.is_writable();
    Ring next(whole);
    std::vector<std::byte> content(pipe_.ring.bytes());
    next.put(std::span(content).first(pipe_.ring.copy_to(content)));
    pipe_.ring = std::move(next);
    pipe_.releases += !was_writable && pipe_.is_writable() ? 1 : 0;
    return whole;
  }

 protected:
  void leave(bool& end) {
    end = false;
    ++pipe_.arrivals;
    ++pipe_.releases;
    if (!pipe_.has_reader && !pipe_.has_writer) {
      delete &pipe_;
    }
  }

  Pipe& pipe_;
};

class PipeReader final : public PipeEnd {
 public:
  explicit PipeReader(Pipe& pipe) : PipeEnd(pipe) {}
  ~PipeReader() override { leave(pipe_.has_reader); }

  [[nodiscard]] Or<std::uint64_t> peek(std::span<std::byte> to) override {
    if (pipe_.ring.bytes() == 0 && !to.empty() && pipe_.has_writer) {
      return std::unexpected(EAGAIN);
    }
    return pipe_.ring.copy_to(to);
  }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/, std::span<std::byte> to) override {
    Or<std::uint64_t> got = peek(to);
    const bool was_writable = pipe_.is_writable();
    pipe_.ring.take(got.value_or(0));
    pipe_.releases += !was_writable && pipe_.is_writable() ? 1 : 0;
    return got;
  }
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override {
    Readiness is = pipe_.ring.bytes() != 0 ? abi::file_readable & wanted : 0;
    is |= pipe_.has_writer ? 0U : abi::file_hung_up;
    return is;
  }
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override {
    return (wanted & abi::file_readable) != 0 || !pipe_.has_writer ? pipe_.arrivals : 0;
  }
};

class PipeWriter final : public PipeEnd {
 public:
  explicit PipeWriter(Pipe& pipe) : PipeEnd(pipe) {}
  ~PipeWriter() override { leave(pipe_.has_writer); }

  // What is not larger than a page goes whole or not at all.
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t /*offset*/,
                                        std::span<const std::byte> from) override {
    if (!pipe_.has_reader) {
      return std::unexpected(EPIPE);
    }
    const std::uint64_t room = pipe_.ring.room();
    if (!from.empty() && (room == 0 || (from.size() <= abi::page_bytes && room < from.size()))) {
      return std::unexpected(EAGAIN);
    }
    pipe_.arrivals += from.empty() ? 0 : 1;
    return pipe_.ring.put(from);
  }
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override {
    Readiness is = pipe_.is_writable() ? abi::file_writable & wanted : 0;
    is |= pipe_.has_reader ? 0U : file_failed;
    return is;
  }
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override {
    return (wanted & abi::file_writable) != 0 || !pipe_.has_reader ? pipe_.releases : 0;
  }
};

} // namespace

PipeEnds make_pipe(std::uint64_t inode) {
  auto* const pipe = new Pipe(inode);
  return {new PipeReader(*pipe), new PipeWriter(*pipe)};
}

} // namespace guest::linux
