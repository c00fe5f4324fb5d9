// SPDX-License-Identifier: MIT
// A host with files, for tests of what the guest keeps of them: it counts what it is asked, and
// refuses what it is told to refuse.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "guest/linux/base/machine.hpp"
#include "guest/linux/files/file_port.hpp"
#include "guest/linux/files/page_tree.hpp"
#include "guest/linux/files/shared_pages.hpp"

namespace test_support {

class FakeFileHost final : public guest::linux::FilePort {
 public:
  struct Inode {
    std::uint64_t number = 0;
    std::string content;
    std::string on_disk; // at the last sync
    std::int64_t modified_ns = 0;
  };

  abi::FileResult perform(const abi::FileCall& call) override {
    using enum abi::FileOperation;
    ++asked[call.operation];
    if (refuses && call.operation == refused && (refused_file == 0 || refused_file == call.file)) {
      if (refusals_after == 0) {
        return -refusal;
      }
      --refusals_after;
    }
    const std::string path(reinterpret_cast<const char*>(call.path_gpa), call.path_bytes); // NOLINT
    auto* const buffer = reinterpret_cast<char*>(call.buffer_gpa);                         // NOLINT
    switch (call.operation) {
    case stat_path:
      return names.contains(path) ? put_stat(*names[path], buffer) : -ENOENT;
    case open:
      return do_open(path, call);
    case close:
      REQUIRE(open_files.erase(call.file) == 1);
      return 0;
    case space: {
      const abi::FileSpace is{.block_bytes = 4096, .available_blocks = free_bytes / 4096};
      std::memcpy(buffer, &is, sizeof is);
      return 0;
    }
    case rename:
      names[std::string(buffer, call.buffer_bytes)] = names.at(path);
      names.erase(path);
      return 0;
    case link:
      names[std::string(buffer, call.buffer_bytes)] = names.at(path);
      return 0;
    case remove:
      return names.erase(path) == 1 ? 0 : -ENOENT;
    case set_times:
      inode_of(path, call).modified_ns = 7;
      return 0;
    default:
      REQUIRE(open_files.contains(call.file));
      return on_open(*open_files[call.file], call, buffer);
    }
  }

  Inode& make(const std::string& path, std::string content) {
    names[path] = std::make_shared<Inode>(Inode{++last_inode, std::move(content), {}, ++time});
    return *names[path];
  }
  // As somebody on the host does it.
  void change(const std::string& path, std::string content) {
    names.at(path)->content = std::move(content);
    names.at(path)->modified_ns = ++time;
  }
  [[nodiscard]] const std::string& content(const std::string& path) {
    return names.at(path)->content;
  }
  // The calls of an operation after `after` of them.
  void refuse(abi::FileOperation operation, int error, int after = 0) {
    refuses = true;
    refused = operation;
    refusal = error;
    refusals_after = after;
  }

  std::map<std::string, std::shared_ptr<Inode>> names;
  std::map<std::uint32_t, std::shared_ptr<Inode>> open_files;
  std::map<abi::FileOperation, int> asked;
  std::uint64_t free_bytes = std::uint64_t{1} << 30;
  std::uint64_t takes = ~std::uint64_t{0}; // bytes a write
  bool refuses = false;
  abi::FileOperation refused{};
  std::uint32_t refused_file = 0; // 0: any
  int refusal = 0;
  int refusals_after = 0;

 private:
  Inode& inode_of(const std::string& path, const abi::FileCall& call) {
    return path.empty() ? *open_files.at(call.file) : *names.at(path);
  }

  static abi::FileResult put_stat(const Inode& inode, char* buffer) {
    const abi::FileStat is{.device = 1,
                           .inode = inode.number,
                           .links = 1,
                           .bytes = inode.content.size(),
                           .blocks = (inode.content.size() + 4095) / 4096 * 8,
                           .modified_ns = inode.modified_ns,
                           .mode = S_IFREG | 0644U};
    std::memcpy(buffer, &is, sizeof is);
    return 0;
  }

  abi::FileResult do_open(const std::string& path, const abi::FileCall& call) {
    if ((call.flags & abi::file_create) != 0) {
      make(path, {});
    }
    if (!names.contains(path)) {
      return -ENOENT;
    }
    open_files[++last_file] = names[path];
    return last_file;
  }

  abi::FileResult on_open(Inode& inode, const abi::FileCall& call, char* buffer) {
    using enum abi::FileOperation;
    std::string& content = inode.content;
    switch (call.operation) {
    case stat:
      return put_stat(inode, buffer);
    case read: {
      const std::size_t at = std::min<std::size_t>(call.offset, content.size());
      const std::size_t got = std::min<std::size_t>(call.buffer_bytes, content.size() - at);
      std::memcpy(buffer, content.data() + at, got);
      return static_cast<abi::FileResult>(got);
    }
    case write: {
      const std::size_t at =
          (call.flags & abi::file_append) != 0 ? content.size() : std::size_t{call.offset};
      const std::size_t put = std::min<std::size_t>(call.buffer_bytes, takes);
      content.resize(std::max(content.size(), at + put));
      std::memcpy(content.data() + at, buffer, put);
      inode.modified_ns = ++time;
      return static_cast<abi::FileResult>(put);
    }
    case truncate:
      content.resize(call.offset);
      inode.modified_ns = ++time;
      return 0;
    case allocate: // a hole where `mode` says so, else more of it
      if (call.mode != 0) {
        for (std::size_t at = call.offset; at < call.offset + call.length && at < content.size();
             ++at) {
          content[at] = 0;
        }
      } else {
        content.resize(std::max<std::size_t>(content.size(), call.offset + call.length));
      }
      inode.modified_ns = ++time;
      return 0;
    case sync:
      inode.on_disk = content;
      return 0;
    default:
      return -EINVAL;
    }
  }

  std::uint64_t last_inode = 0;
  std::uint32_t last_file = 2;
  std::int64_t time = 1000;
};

class FakeMachine final : public guest::linux::Machine {
 public:
  [[nodiscard]] std::uint64_t now_ns() override { return now; }
  [[nodiscard]] bool sleep_until_ns(std::uint64_t deadline) override {
    now = deadline;
    return false;
  }
  [[nodiscard]] bool set_alarm_ns(std::uint64_t /*deadline*/) override { return false; }
  [[nodiscard]] bool take_ready_files() override { return false; }
  [[nodiscard]] guest::linux::SignalSet take_signals() override { return 0; }
  void set_handled_signals(guest::linux::SignalSet /*signals*/) override {}
  void set_thread_pointer(std::uint64_t /*address*/) override {}
  [[nodiscard]] std::uint64_t ram_bytes() const override { return 1 << 30; }
  [[nodiscard]] unsigned vcpus() const override { return 1; }
  [[noreturn]] void exit(std::uint8_t status) override { std::exit(status); }

  std::uint64_t now = 1;
};

// Pages with what their last owner left in them, as many as it is told to have.
class FakePool final : public guest::linux::PagePool {
 public:
  ~FakePool() { CHECK(out.empty()); }

  [[nodiscard]] std::byte* take() override {
    if (out.size() >= most) {
      return nullptr;
    }
    auto page = std::make_unique<std::byte[]>(4096);
    std::byte* const at = page.get();
    out[at] = std::move(page);
    return at;
  }
  void give(std::byte* page) override { REQUIRE(out.erase(page) == 1); }
  [[nodiscard]] Space space() override { return {most, most - out.size()}; }

  std::map<std::byte*, std::unique_ptr<std::byte[]>> out;
  std::size_t most = 100'000;
};

// Nothing is shown.
class NoViews final : public guest::linux::PageViews {
 public:
  void hide(const guest::linux::SharedPages& /*of*/, guest::linux::PageRange range) override {
    hidden.push_back({range.first, range.end});
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> hidden;
};

} // namespace test_support
