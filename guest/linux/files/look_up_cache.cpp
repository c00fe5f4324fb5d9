// SPDX-License-Identifier: MIT
#include "guest/linux/files/look_up_cache.hpp"

namespace guest::linux {

namespace {

constexpr std::size_t slots = LookUpCache::most_entries * 2;

// FNV-1a, a word at a time where it can be.
std::uint64_t hash_of(std::string_view text) {
  constexpr std::uint64_t prime = 0x100000001b3;
  std::uint64_t hash = 0xcbf29ce484222325;
  for (; text.size() >= sizeof(std::uint64_t); text.remove_prefix(sizeof(std::uint64_t))) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, text.data(), sizeof word);
    hash = (hash ^ word) * prime;
    hash ^= hash >> 32;
  }
  for (const char letter : text) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * prime;
  }
  return hash ^ (hash >> 32);
}

} // namespace

std::unique_ptr<LookUpCache::Entry>& LookUpCache::slot_of(std::string_view path) {
  std::size_t index = hash_of(path) % slots;
  while (slots_[index] && view(slots_[index]->path) != path) {
    index = (index + 1) % slots;
  }
  return slots_[index];
}

LookUpCache::Entry* LookUpCache::find(std::string_view path, std::uint64_t now_ns) {
  if (slots_.empty()) {
    return nullptr;
  }
  Entry* const entry = slot_of(path).get();
  return entry != nullptr && now_ns < entry->until_ns ? entry : nullptr;
}

LookUpCache::Entry& LookUpCache::add(std::string_view path, const Or<abi::FileStat>& stat,
                                     std::uint64_t now_ns) {
  if (slots_.empty() || used_ == most_entries) {
    slots_.clear();
    slots_.resize(slots);
    used_ = 0;
  }
  std::unique_ptr<Entry>& slot = slot_of(path);
  if (!slot) {
    slot = std::make_unique<Entry>();
    slot->path = to_text(path);
    ++used_;
  }
  slot->until_ns = now_ns + lifetime_ns;
  slot->stat = stat;
  slot->link.clear();
  return *slot;
}

} // namespace guest::linux
