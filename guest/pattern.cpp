// SPDX-License-Identifier: MIT
#include "guest/pattern.hpp"

#include <cstring>

#include "guest/arch/cpu.hpp"

namespace guest {

namespace {

constexpr std::size_t words_per_page = abi::page_bytes / sizeof(std::uint64_t);

std::uint64_t word_for(std::uint64_t key, const std::uint64_t* at) {
  std::uint64_t value = key * 0x9e3779b97f4a7c15 ^ arch::address_of(at).value;
  value ^= value >> 29;
  return value * 0xbf58476d1ce4e5b9 | 1; // never zero, so a discarded page cannot pass
}

[[noreturn]] void fail(Env& env, const std::uint64_t* at, std::uint64_t key,
                       std::uint64_t expected) {
  print("content lost at {:#x}: expected {:#018x} (block {}), found {:#018x}\n",
        arch::address_of(at).value, expected, key, *at);
  env.exit(1);
}

} // namespace

Pattern::Pattern(const Env& env) : fill_(Fill::edges) {
  const std::string_view fill = env.arg("fill", "edges");
  if (fill == "full") {
    fill_ = Fill::full;
  } else if (fill != "edges") {
    Env(env).usage_error("fill={} is unknown: use edges or full", fill);
  }
}

void Pattern::stamp(void* block, abi::Order order, std::uint64_t key) const {
  auto* word = static_cast<std::uint64_t*>(block);
  const std::uint64_t* const end = word + order.frames() * words_per_page;
  const std::size_t step = fill_ == Fill::full ? 1 : words_per_page;
  for (; word < end; word += step) {
    *word = word_for(key, word);
    if (fill_ == Fill::edges) {
      std::uint64_t* const last = word + words_per_page - 1;
      *last = word_for(key, last);
    }
  }
}

void Pattern::check(Env& env, const void* block, abi::Order order, std::uint64_t key) const {
  verify(env, block, order, key);
  env.count_verified_pages(order.frames());
}

// The pattern depends on the address: what is copied is stamped anew.
void Pattern::move(Env& env, const void* from, void* to, abi::Order order,
                   std::uint64_t key) const {
  verify(env, from, order, key);
  std::memcpy(to, from, order.bytes());
  stamp(to, order, key);
}

void Pattern::check_zero(Env& env, const void* block, abi::Order order) const {
  const auto* const words = static_cast<const std::uint64_t*>(block);
  const std::size_t count = order.frames() * words_per_page;
  for (std::size_t index = 0; index < count; ++index) {
    const std::size_t in_page = index % words_per_page;
    const bool is_edge = in_page == 0 || in_page == words_per_page - 1;
    if ((is_edge || fill_ == Fill::full) && words[index] != 0) {
      print("not zeroed at {:#x}: found {:#018x}\n", arch::address_of(words + index).value,
            words[index]);
      env.exit(1);
    }
  }
}

void Pattern::verify(Env& env, const void* block, abi::Order order, std::uint64_t key) const {
  const auto* word = static_cast<const std::uint64_t*>(block);
  const std::uint64_t* const end = word + order.frames() * words_per_page;
  const std::size_t step = fill_ == Fill::full ? 1 : words_per_page;
  for (; word < end; word += step) {
    if (*word != word_for(key, word)) {
      fail(env, word, key, word_for(key, word));
    }
    if (fill_ == Fill::edges) {
      const std::uint64_t* const last = word + words_per_page - 1;
      if (*last != word_for(key, last)) {
        fail(env, last, key, word_for(key, last));
      }
    }
  }
}

} // namespace guest
