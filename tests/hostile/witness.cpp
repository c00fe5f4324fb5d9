// SPDX-License-Identifier: MIT
#include "tests/hostile/witness.hpp"

#include <span>

#include "guest/arch/cpu.hpp"
#include "guest/pattern.hpp"
#include "shared/boot_info.hpp"
#include "shared/layout.h"

// Made by the linker script.
extern "C" const std::byte __rodata_start[];
extern "C" const std::byte __text_end[];

namespace hostile {
namespace {

constexpr abi::Order block_order{9};
constexpr std::uint64_t block_key = 77;

std::uint64_t hash(std::span<const std::byte> bytes, std::uint64_t value) {
  for (const std::byte byte : bytes) { // FNV-1a
    value = (value ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  return value;
}

} // namespace

Witness::Witness(guest::Env& env)
    : env_(env), block_(env.allocate_pages(block_order)), fingerprint_(fingerprint()),
      prey_(abi::to_pfn(guest::arch::address_of(env.allocate_pages(prey_order)))) {
  expect(block_ != nullptr && prey_.value != 0, "no memory to begin with");
  guest::Pattern(guest::Fill::edges).stamp(block_, block_order, block_key);
}

// Of the constants and code of the image, and of the boot info.
std::uint64_t Witness::fingerprint() {
  return hash(
      {guest::arch::pointer_to<const std::byte>({EBB_BOOT_INFO_GPA}), sizeof(abi::BootInfo)},
      hash({__rodata_start, __text_end}, 0xcbf29ce484222325));
}

void Witness::expect(bool holds, const char* what) {
  if (!holds) {
    guest::print("{}\n", what);
    env_.exit(1);
  }
}

void Witness::check() {
  expect(fingerprint() == fingerprint_, "image or boot info changed");
  guest::Pattern(guest::Fill::edges).check(env_, block_, block_order, block_key);
}

void Witness::testify(Wire& wire) {
  check();
  auto* const word = guest::arch::pointer_to<volatile std::uint64_t>(abi::to_gpa(prey_));
  *word = block_key;
  const auto range = abi::RangeDescriptor::make(prey_, prey_order, abi::RangeKind::hint);
  expect(wire.hint(range) == abi::Outcome::discarded, "an honest hint is not answered");
  expect(*word == 0, "discarded memory does not read as zero");
  check();
  guest::print("survived\n");
  env_.exit(0);
}

} // namespace hostile
