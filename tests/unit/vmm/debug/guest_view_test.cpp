// SPDX-License-Identifier: MIT
#include "vmm/debug/guest_view.hpp"

#include <sys/mman.h>

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "shared/image_header.hpp"
#include "shared/layout.h"
#include "vmm/boot/boot_state.hpp"
#include "vmm/debug/breakpoints.hpp"

using namespace vmm;

namespace {

constexpr std::uint64_t ram_bytes = std::uint64_t{64} << 20;
constexpr std::uint64_t text_gpa = EBB_LOW_IMAGE_GPA;

abi::ImageHeader small_image() {
  abi::ImageHeader image;
  image.load_gpa = EBB_LOW_IMAGE_GPA;
  image.memory_bytes = 2 * abi::page_bytes;
  image.trap_stubs_gpa = EBB_LOW_IMAGE_GPA;
  image.segments[0] = {text_gpa, abi::page_bytes, abi::segment_execute, 0};
  image.segments[1] = {text_gpa + abi::page_bytes, abi::page_bytes, abi::segment_write, 0};
  return image;
}

// A guest's memory as it is before the first instruction.
struct Guest {
  Guest() {
    auto made = GuestMemory::create(ram_bytes, Backing::small_pages);
    REQUIRE(made);
    memory.emplace(std::move(*made));
    const abi::ImageHeader image = small_image();
    const BootPlan plan = BootPlan::make(image, {ram_bytes}, {}, 1, abi::huge_page_bytes);
    write_boot_tables(memory->at({0}, plan.free_start.value), plan, image);
    input_gpa = plan.input_gpa;
    input.resize(abi::huge_page_bytes, std::byte{0x5a});
    view.emplace(
        *memory, [this] { return plugged; }, ReadOnlyArea{input_gpa, input});
  }

  std::uint64_t& entry(std::uint64_t gpa) { return *memory->object_at<std::uint64_t>({gpa}); }
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t address, std::size_t bytes) const {
    std::vector<std::byte> data(bytes);
    data.resize(view->read(cr3, address, data));
    return data;
  }
  bool write(std::uint64_t address, const std::vector<std::byte>& data) const {
    return view->write(cr3, address, data);
  }

  std::optional<GuestMemory> memory;
  std::vector<std::byte> input;
  abi::Gpa input_gpa;
  abi::Gpa plugged{ram_bytes};
  std::uint64_t cr3 = EBB_PAGE_TABLE_GPA;
  std::optional<GuestView> view;
};

const std::vector<std::byte> two_bytes{std::byte{1}, std::byte{2}};

} // namespace

TEST_CASE("guest view: what the page tables map is there, with pages of either size") {
  Guest guest;
  for (const std::uint64_t address :
       {std::uint64_t{EBB_BOOT_INFO_GPA}, text_gpa, std::uint64_t{0x1000000}, ram_bytes - 2}) {
    CAPTURE(address);
    CHECK(guest.view->translate(guest.cr3, address) == abi::Gpa{address});
    CHECK(guest.write(address, two_bytes));
    CHECK(guest.read(address, 2) == two_bytes);
    CHECK(guest.memory->at({address}, 2)[1] == std::byte{2});
  }
  CHECK(guest.read(guest.input_gpa.value + 5, 1).at(0) == std::byte{0x5a});
  CHECK_FALSE(guest.write(guest.input_gpa.value + 5, two_bytes));
}

TEST_CASE("guest view: what they do not map is not") {
  Guest guest;
  for (const std::uint64_t address :
       {std::uint64_t{0}, std::uint64_t{EBB_PAGE_TABLE_GPA}, ram_bytes, std::uint64_t{1} << 38,
        std::uint64_t{1} << 47, (std::uint64_t{1} << 48) + text_gpa, ~std::uint64_t{0},
        ~std::uint64_t{0} << 47}) {
    CAPTURE(address);
    CHECK_FALSE(guest.view->translate(guest.cr3, address));
    CHECK(guest.read(address, 8).empty());
    CHECK_FALSE(guest.write(address, two_bytes));
  }
}

TEST_CASE("guest view: reads end where memory does, writes are whole or nothing") {
  Guest guest;
  CHECK(guest.read(ram_bytes - 3, 100).size() == 3);
  CHECK(guest.read(EBB_STATUS_GPA + abi::page_bytes - 4, 16).size() == 4); // nothing mapped behind
  CHECK_FALSE(guest.write(ram_bytes - 1, two_bytes));
  CHECK(guest.memory->at({ram_bytes - 1}, 1)[0] == std::byte{0});
  // Across pages, and to the wrap of the address space.
  const std::vector<std::byte> page(3 * abi::page_bytes, std::byte{7});
  CHECK(guest.write(0x1000000 + 123, page));
  CHECK(guest.read(0x1000000 + 123, page.size()) == page);
  CHECK(guest.read(~std::uint64_t{0} - 3, 8).empty());
}

TEST_CASE("guest view: RAM that is not plugged yet is not there") {
  Guest guest;
  guest.plugged = {0x1000000};
  CHECK(guest.read(0x1000000 - 1, 2).size() == 1);
  CHECK_FALSE(guest.write(0x1000000 - 1, two_bytes));
  CHECK(guest.memory->at({0x1000000 - 1}, 1)[0] == std::byte{0}); // nor the half that is there
  CHECK_FALSE(guest.write(0x1000000, two_bytes));
}

TEST_CASE("guest view: page tables may hold anything") {
  Guest guest;
  // Tables that lie outside of RAM, at its last word, or in themselves.
  for (const std::uint64_t cr3 :
       {~std::uint64_t{0}, ram_bytes, ram_bytes - abi::page_bytes, std::uint64_t{0}}) {
    CHECK_FALSE(guest.view->translate(cr3, text_gpa));
  }
  const std::uint64_t root = EBB_PAGE_TABLE_GPA;
  guest.entry(root) = root | 1;
  CHECK(guest.view->translate(root, 0).has_value()); // the root as table, directory and page
  CHECK(guest.read(0, 8).size() == 8);
  guest.entry(root) = ~std::uint64_t{0} & ~std::uint64_t{0x80};
  CHECK_FALSE(guest.view->translate(root, text_gpa));
  // A large bit at the top level means nothing; at the next it is a page of 1 GiB.
  guest.entry(root) = 0x101000 | 0x81;
  guest.entry(0x101000) = 0x0 | 0x81;
  CHECK(guest.view->translate(root, 0x12345) == abi::Gpa{0x12345});
  CHECK(guest.read(ram_bytes, 1).empty()); // mapped, but no RAM
  guest.entry(0x101000) = (std::uint64_t{1} << 40) | 0x81;
  CHECK(guest.read(0, 8).empty());
}

TEST_CASE("guest view: memory that the host cannot provide is an error, not a signal") {
  Guest guest;
  const std::span<std::byte> page = guest.memory->at({0x1000000}, abi::page_bytes);
  REQUIRE(::mprotect(page.data(), page.size(), PROT_NONE) == 0);
  CHECK(guest.read(0x1000000, 8).empty());
  CHECK_FALSE(guest.write(0x1000000, two_bytes));
  REQUIRE(::mprotect(page.data(), page.size(), PROT_READ | PROT_WRITE) == 0);
  CHECK(guest.read(0x1000000, 8).size() == 8);
}

TEST_CASE("breakpoints: patched, hidden, and restored") {
  Guest guest;
  Breakpoints breakpoints(*guest.view);
  const std::span<std::byte> text = guest.memory->at({text_gpa}, 16);
  text[4] = std::byte{0x90};
  REQUIRE(breakpoints.insert(guest.cr3, text_gpa + 4));
  REQUIRE(breakpoints.insert(guest.cr3, text_gpa + 4)); // once more changes nothing
  CHECK(text[4] == std::byte{0xcc});
  CHECK(breakpoints.at(text_gpa + 4));
  std::array<std::byte, 16> seen{};
  CHECK(breakpoints.read(guest.cr3, text_gpa, seen) == 16);
  CHECK(seen[4] == std::byte{0x90});
  // Written beneath.
  REQUIRE(breakpoints.write(guest.cr3, text_gpa + 3, two_bytes));
  CHECK(text[3] == std::byte{1});
  CHECK(text[4] == std::byte{0xcc});
  breakpoints.remove(text_gpa + 4);
  CHECK(text[4] == std::byte{2});
  CHECK_FALSE(breakpoints.at(text_gpa + 4));
  breakpoints.remove(text_gpa + 4); // gone is gone
  CHECK(text[4] == std::byte{2});
}

TEST_CASE("breakpoints: a byte that the guest has overwritten stays as it is") {
  Guest guest;
  Breakpoints breakpoints(*guest.view);
  const std::span<std::byte> data = guest.memory->at({0x1000000}, 1);
  REQUIRE(breakpoints.insert(guest.cr3, 0x1000000));
  data[0] = std::byte{0x11};
  std::array<std::byte, 1> seen{};
  CHECK(breakpoints.read(guest.cr3, 0x1000000, seen) == 1);
  CHECK(seen[0] == std::byte{0x11});
  breakpoints.remove_all();
  CHECK(data[0] == std::byte{0x11});
}

TEST_CASE("breakpoints: on int3, without memory, and too many") {
  Guest guest;
  Breakpoints breakpoints(*guest.view);
  const std::span<std::byte> text = guest.memory->at({text_gpa}, 1);
  text[0] = std::byte{0xcc};
  REQUIRE(breakpoints.insert(guest.cr3, text_gpa));
  breakpoints.remove(text_gpa);
  CHECK(text[0] == std::byte{0xcc});
  CHECK_FALSE(breakpoints.insert(guest.cr3, 0));
  CHECK_FALSE(breakpoints.insert(guest.cr3, guest.input_gpa.value)); // read-only
  CHECK_FALSE(breakpoints.insert(guest.cr3, ~std::uint64_t{0}));
  for (std::size_t index = 0; index < Breakpoints::max_count; ++index) {
    REQUIRE(breakpoints.insert(guest.cr3, 0x1000000 + index));
  }
  CHECK_FALSE(breakpoints.insert(guest.cr3, 0x2000000));
  CHECK(breakpoints.insert(guest.cr3, 0x1000000)); // there already
  CHECK_FALSE(breakpoints.write(guest.cr3, ram_bytes - 1, two_bytes));
  breakpoints.remove_all();
  CHECK(guest.memory->at({0x1000000}, 1)[0] == std::byte{0});
}
