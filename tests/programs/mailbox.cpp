// SPDX-License-Identifier: MIT
// A hostile program: it goes past its kernel and writes file calls into the mailbox itself, which
// the border between it and the host must bear. Argument: a folder that it may change. It says
// "survived" when every answer was one that makes sense.
#include <atomic>
#include <cstdio>
#include <cstring>

#include "shared/file_call.hpp"
#include "tests/programs/raw_mailbox.hpp"

namespace {

using hostile::expect;
using hostile::good;
using hostile::gpa_of;
using hostile::hole_gpa;
using hostile::ram_bytes;

abi::FileMailbox& mailbox() {
  return hostile::mailbox_at<abi::FileCall>(EBB_FILE_MAILBOX);
}

auto& path_buffer = hostile::in_ram<char[4096]>();
auto& buffer = hostile::in_ram<char[65536]>();

abi::FileResult ask(const abi::FileCall& call) {
  return hostile::ask_by(mailbox(), abi::Hypercall::file, call);
}

abi::FileResult ask_path(abi::FileOperation operation, const char* path, std::uint32_t flags,
                         const char* other = "") {
  std::strncpy(path_buffer, path, sizeof path_buffer - 1);
  std::strncpy(buffer, other, sizeof buffer - 1);
  return ask({.operation = operation,
              .flags = flags,
              .mode = 0644,
              .buffer_gpa = gpa_of(buffer),
              .buffer_bytes = std::strlen(other),
              .path_gpa = gpa_of(path_buffer),
              .path_bytes = std::strlen(path_buffer)});
}

// Numbers never given, lengths and addresses that are nobody's.
void ask_nonsense() {
  constexpr std::uint64_t huge = ~std::uint64_t{0};
  for (std::uint32_t operation = 0; operation < 64; ++operation) {
    for (const std::uint32_t file : {500U, 501U, 1023U, 1024U, 65536U, ~0U}) {
      for (const std::uint64_t gpa :
           {std::uint64_t{0}, ram_bytes - 8, ram_bytes, hole_gpa, huge - 7}) {
        for (const std::uint64_t bytes : {std::uint64_t{16}, abi::file_transfer_bytes, huge}) {
          const abi::FileResult result =
              ask({.operation = static_cast<abi::FileOperation>(operation),
                   .file = file,
                   .flags = file & 0xfff,
                   .mode = 0777,
                   .offset = huge - 100,
                   .buffer_gpa = gpa,
                   .buffer_bytes = bytes,
                   .path_gpa = gpa,
                   .path_bytes = bytes,
                   .length = huge});
          // Randomness into page 0 is the program's own business.
          expect(result < 0 || operation == 10, "nonsense was carried out");
        }
      }
    }
  }
}

// Ways out of the folder, by names that its links make look good.
void ask_for_ways_out(const char* folder) {
  char path[4096];
  const auto in_folder = [&](const char* name) {
    std::snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
  };
  ask_path(abi::FileOperation::make_link, in_folder("up"), 0, "..");
  ask_path(abi::FileOperation::make_link, in_folder("root"), 0, "/");
  ask_path(abi::FileOperation::make_link, in_folder("magic"), 0, "/proc/self/root");
  constexpr std::uint32_t create = abi::file_write | abi::file_create | abi::file_truncate;
  for (const char* const name :
       {"../escaped", "up/escaped/../../escaped", "up/../../escaped", "root/../../escaped",
        "magic/escaped", "../../escaped", "up/up/up/../escaped/", "magic/proc/self/fd/0"}) {
    ask_path(abi::FileOperation::open, in_folder(name), create);
    ask_path(abi::FileOperation::make_directory, in_folder(name), 0);
    for (const auto operation :
         {abi::FileOperation::link, abi::FileOperation::make_link, abi::FileOperation::rename}) {
      char from[4096];
      std::snprintf(from, sizeof from, "%s/root", folder);
      ask_path(operation, operation == abi::FileOperation::make_link ? path : from, 0,
               operation == abi::FileOperation::make_link ? "text" : path);
    }
  }
  for (const char* const name :
       {"/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/1/root/etc/passwd",
        "/proc/self/cwd/x", "/proc/self/fd/3", "/proc/self/mem", "/sys/kernel/vmcoreinfo"}) {
    expect(ask_path(abi::FileOperation::open, name, 0) < 0, "a file of proc was opened");
  }
}

// The host looks at the mailbox while all of it changes; nobody waits for an answer.
void ask_without_waiting() {
  abi::FileMailbox& box = mailbox();
  for (std::uint32_t count = 0; count < 200000; ++count) {
    box.call.operation = static_cast<abi::FileOperation>(count % 34);
    box.call.file = 3 + count % 8;
    box.call.flags = count % 4096;
    box.call.buffer_gpa = count % 3 == 0 ? gpa_of(buffer) : hostile::wild_gpa(count);
    box.call.buffer_bytes = count % sizeof buffer;
    box.call.path_gpa = count % 3 == 1 ? gpa_of(path_buffer) : hostile::wild_gpa(count);
    box.call.path_bytes = count % 5000;
    if (count % 16 == 0) {
      std::atomic_ref(box.asked).store(count * 7);
    }
    if (count % 4096 == 0) {
      hostile::kick(abi::Hypercall::file);
    }
  }
}

} // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    return 2;
  }
  std::memset(path_buffer, 0, sizeof path_buffer);
  hostile::load_all();
  ask_nonsense();
  ask_for_ways_out(arguments[1]);
  std::strcpy(path_buffer, "/no/such/path");
  ask_without_waiting();
  // It still answers who asks as it should.
  expect(ask_path(abi::FileOperation::open, "/etc/passwd", 0) >= 3, "an honest call is refused");
  std::puts(good ? "survived" : "something was wrong");
  return 0;
}
