// SPDX-License-Identifier: MIT
#include "guest/linux/files/pipe.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint64_t pipe_device = 4;
constexpr std::uint64_t pipe_system = 0x50495045; // PIPEFS_MAGIC

struct Pipe {
  static constexpr std::uint64_t most_bytes = 65536; // as Linux has it

  explicit Pipe(std::uint64_t number) : inode(number) {}

  std::uint64_t inode;
  std::uint32_t mode = S_IFIFO | 0600U;
  abi::FileOwner owner{0, 0};
  bool has_reader = true;
  bool has_writer = true;
  std::uint64_t taken = 0; // bytes, ever
  std::uint64_t put = 0;
  std::array<std::byte, most_bytes> ring;

  [[nodiscard]] std::uint64_t bytes() const { return put - taken; }
  [[nodiscard]] std::uint64_t room() const { return most_bytes - bytes(); }
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

 protected:
  void leave(bool& end) {
    end = false;
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

  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/, std::span<std::byte> to) override {
    const std::uint64_t whole = std::min<std::uint64_t>(to.size(), pipe_.bytes());
    if (whole == 0) {
      return to.empty() || !pipe_.has_writer ? Or<std::uint64_t>(0) : std::unexpected(EAGAIN);
    }
    for (std::uint64_t done = 0; done < whole;) {
      const std::uint64_t at = pipe_.taken % Pipe::most_bytes;
      const std::uint64_t part = std::min(whole - done, Pipe::most_bytes - at);
      std::memcpy(to.data() + done, pipe_.ring.data() + at, part);
      pipe_.taken += part;
      done += part;
    }
    return whole;
  }
  [[nodiscard]] Or<std::uint64_t> readable_bytes() override { return pipe_.bytes(); }
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override {
    Readiness is = pipe_.bytes() != 0 ? abi::file_readable & wanted : 0;
    is |= pipe_.has_writer ? 0U : abi::file_hung_up;
    return is;
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
    const std::uint64_t whole = std::min<std::uint64_t>(from.size(), pipe_.room());
    if (!from.empty() && (whole == 0 || (from.size() <= abi::page_bytes && whole < from.size()))) {
      return std::unexpected(EAGAIN);
    }
    for (std::uint64_t done = 0; done < whole;) {
      const std::uint64_t at = pipe_.put % Pipe::most_bytes;
      const std::uint64_t part = std::min(whole - done, Pipe::most_bytes - at);
      std::memcpy(pipe_.ring.data() + at, from.data() + done, part);
      pipe_.put += part;
      done += part;
    }
    return whole;
  }
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override {
    Readiness is = pipe_.room() >= abi::page_bytes ? abi::file_writable & wanted : 0;
    is |= pipe_.has_reader ? 0U : abi::file_hung_up;
    return is;
  }
};

} // namespace

PipeEnds make_pipe(std::uint64_t inode) {
  auto* const pipe = new Pipe(inode);
  return {new PipeReader(*pipe), new PipeWriter(*pipe)};
}

} // namespace guest::linux
