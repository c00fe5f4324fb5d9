// SPDX-License-Identifier: MIT
// readv, writev and their kin with vectors of all sorts, answered as by the host's own kernel.
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/linux/two_kernels.hpp"

namespace {

using namespace test_support; // NOLINT(google-build-using-namespace)

constexpr std::uint64_t page = abi::page_bytes;

// Puts vectors where the second argument's would be; answers of the host and of the guest.
struct Vectors {
  Host host;
  Guest guest;

  std::pair<long, long> ask(long number, std::vector<std::pair<std::int64_t, std::uint64_t>> parts,
                            std::uint64_t count, std::string* text = nullptr) {
    std::array<long, 2> answers{};
    std::array<std::string, 2> seen;
    std::size_t which = 0;
    for (World* const world : {static_cast<World*>(&host), static_cast<World*>(&guest)}) {
      world->prepare();
      std::vector<iovec> vector;
      for (const auto& [offset, bytes] : parts) {
        vector.push_back(
            {World::pointer(world->memory + static_cast<std::uint64_t>(offset)), bytes});
      }
      const std::uint64_t at = world->own + (at_end ? page - vector.size() * sizeof(iovec) : 0);
      std::ranges::copy(vector, reinterpret_cast<iovec*>(World::pointer(at)));
      answers.at(which) = world->ask(number, world->file, at, count, 0, 0, 0);
      seen.at(which++) = std::string(World::pointer(world->memory), page);
    }
    CHECK((seen[0] == seen[1]));
    if (text != nullptr) {
      *text = seen[1];
    }
    return {answers[0], answers[1]};
  }

  bool at_end = false; // the vectors end where the memory does
};

TEST_CASE("calls: vectors are read and written as on the host") {
  Vectors vectors;
  for (const long number : {SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev}) {
    CAPTURE(number);
    const auto same = [&](std::vector<std::pair<std::int64_t, std::uint64_t>> parts,
                          std::uint64_t count) {
      const auto [host, guest] = vectors.ask(number, std::move(parts), count);
      CHECK(guest == host);
      return guest;
    };
    CHECK(same({{0, 5}, {100, 7}}, 2) == 12);
    CHECK(same({{0, 10}, {5, 10}}, 2) == 20); // the same place twice
    CHECK(same({{0, 0}, {0, 0}}, 2) == 0);
    CHECK(same({{0, 0}, {0, 3}, {9, 0}, {9, 3}}, 4) == 6);
    CHECK(same({}, 0) == 0);
    CHECK(same({{0, 1}}, 1025) == -EINVAL);
    CHECK(same({{0, 1}}, ~std::uint64_t{0}) == -EINVAL);
    CHECK(same({{0, 4}, {0, ~std::uint64_t{0}}}, 2) == -EINVAL); // and nothing is moved
    CHECK(same({{0, 4}, {0, std::uint64_t{1} << 63}}, 2) == -EINVAL);
    CHECK(same({{0, 4}, {0, (std::uint64_t{1} << 63) - 1}}, 2) == -EFAULT);
    CHECK(same({{0, 4}, {std::int64_t{1} << 47, 4}}, 2) == -EFAULT);
    same({{0, 4}, {page, 4}}, 2); // nothing to be had there
    same({{page, 4}, {0, 4}}, 2);
    same({{page - 2, 4}, {0, 4}}, 2);
    vectors.at_end = true;
    CHECK(same({{0, 4}, {8, 4}}, 2) == 8);
    CHECK(same({{0, 4}, {8, 4}}, 3) == -EFAULT); // the third vector itself is not there
    vectors.at_end = false;
  }
}

} // namespace
