// SPDX-License-Identifier: MIT
// The C++ runtime at work: new and delete of many sizes, printing of every kind, memory functions,
// time, exit status.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "guest/workload.hpp"

namespace {

bool memory_functions_work() {
  std::vector<unsigned char> bytes(4096);
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(0));
  for (const std::size_t length : {0, 1, 7, 8, 9, 127, 128, 129, 1000}) {
    std::vector<unsigned char> copy(2048, 0xee);
    std::memcpy(copy.data() + 3, bytes.data() + 5, length);
    if (!std::equal(copy.begin() + 3, copy.begin() + 3 + static_cast<std::ptrdiff_t>(length),
                    bytes.begin() + 5) ||
        copy[2] != 0xee || copy[3 + length] != 0xee) {
      return false;
    }
    for (const std::size_t shift : {1, 8, 200}) {
      std::vector<unsigned char> up = bytes;
      std::memmove(up.data() + shift, up.data(), length);
      std::vector<unsigned char> down = bytes;
      std::memmove(down.data(), down.data() + shift, length);
      if (std::memcmp(up.data() + shift, bytes.data(), length) != 0 ||
          std::memcmp(down.data(), bytes.data() + shift, length) != 0) {
        return false;
      }
    }
  }
  return true;
}

bool heap_works(guest::Env& env) {
  guest::Random random(env.seed());
  std::vector<std::vector<std::uint64_t>> objects(500);
  for (unsigned round = 0; round < 20'000; ++round) {
    auto& object = objects[random.below(objects.size())];
    const std::uint64_t key = object.size() * 0x9e37;
    if (!std::all_of(object.begin(), object.end(),
                     [&](std::uint64_t word) { return word == key; })) {
      return false;
    }
    const std::size_t size = random.below(round % 10 == 0 ? 5000 : 64);
    object = std::vector<std::uint64_t>(size, size * 0x9e37);
  }
  return true;
}

int run(guest::Env& env) {
  guest::print("numbers {} {:#x} {:>6} {:.3f} {}\n", -5, 255, 42, 2.5, true);
  guest::print("text {:?}\n", "a\tb");
  if (!memory_functions_work()) {
    guest::print("memory functions are wrong\n");
    return 1;
  }
  if (!heap_works(env)) {
    guest::print("heap objects changed\n");
    return 1;
  }
  const std::uint64_t before = env.now_ns();
  env.sleep_until_ns(before + 2'000'000);
  if (env.now_ns() < before + 2'000'000) {
    guest::print("woke early\n");
    return 1;
  }
  return 42;
}

} // namespace

EBB_WORKLOAD(test, "exercise the runtime", run);
