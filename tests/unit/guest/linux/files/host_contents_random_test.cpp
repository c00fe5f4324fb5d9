// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/linux/host_contents_fixture.hpp"

namespace {

using namespace guest::linux;
using namespace test_support;

constexpr std::uint64_t page = 4096;

// Whatever happens to a file by several descriptors is what happens to a string; and the host has
// all of it whenever something was to be written.
TEST_CASE("host contents: by chance, as without a cache") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    std::mt19937 chance(seed);
    const auto below = [&](std::uint64_t end) {
      return std::uniform_int_distribution<std::uint64_t>(0, end - 1)(chance);
    };
    HostContentsFixture fixture;
    fixture.pool.most = seed % 3 == 0 ? 40 : 100'000;
    fixture.host.takes = seed % 4 == 1 ? 5000 : ~std::uint64_t{0};
    std::string all(below(100'000), 'x');
    fixture.host.make("/a", all);
    std::vector<std::unique_ptr<File>> open;
    for (int count = 0; count < 3; ++count) {
      open.push_back(fixture.open("/a"));
    }
    const auto reader = fixture.open("/a", FileAccess::read);
    for (int step = 0; step < 1500; ++step) {
      File& file = *open[below(open.size())];
      const std::uint64_t offset = below(4) == 0 ? below(50) * page : below(200'000);
      const std::string text(1 + (below(8) == 0 ? below(300'000) : below(9000)),
                             static_cast<char>('a' + step % 26));
      switch (below(12)) {
      case 0:
      case 1:
      case 2:
        put(file, offset, text);
        all.resize(std::max(all.size(), offset + text.size()));
        all.replace(offset, text.size(), text);
        break;
      case 3:
      case 4:
      case 5: {
        File& from = below(3) == 0 ? *reader : file;
        const std::string wanted = offset < all.size() ? all.substr(offset, text.size()) : "";
        REQUIRE(get(from, offset, text.size()) == wanted);
        break;
      }
      case 6: {
        const std::uint64_t bytes =
            below(3) == 0 ? offset : all.size() - std::min(all.size(), below(9000));
        REQUIRE(file.truncate(bytes) == 0);
        all.resize(bytes);
        break;
      }
      case 7: {
        std::uint64_t end = 0;
        REQUIRE(file.append(bytes_of(text), end) == text.size());
        all += text;
        REQUIRE(end == all.size());
        break;
      }
      case 8:
        REQUIRE(file.sync() == 0);
        REQUIRE(fixture.host.names["/a"]->on_disk == all);
        break;
      case 9:
        REQUIRE(file.bytes() == all.size());
        REQUIRE((below(2) == 0 ? file.stat()->bytes : fixture.files.look_up("/a")->bytes) ==
                all.size());
        break;
      case 10:
        REQUIRE(file.allocate(3, offset, text.size()) == 0);
        for (std::uint64_t at = offset; at < std::min(all.size(), offset + text.size()); ++at) {
          all[at] = 0;
        }
        break;
      default:
        fixture.machine.now += below(3'000'000'000);
        open[below(open.size())] = fixture.open("/a");
        if (below(8) == 0) {
          static_cast<void>(fixture.contents.give_back());
        }
      }
      fixture.contents.tend();
    }
    open.clear();
    REQUIRE(fixture.host.content("/a") == all);
  }
}

} // namespace
