// SPDX-License-Identifier: MIT
#include "vmm/debug/breakpoints.hpp"

#include <vector>

namespace vmm {

namespace {
constexpr std::byte int3{0xcc};
} // namespace

bool Breakpoints::insert(std::uint64_t cr3, std::uint64_t address) {
  if (at(address)) {
    return true;
  }
  const auto gpa = view_.translate(cr3, address);
  Patch patch;
  if (patches_.size() == max_count || !gpa ||
      !view_.read_physical(*gpa, std::span(&patch.original, 1)) ||
      !view_.write_physical(*gpa, std::span(&int3, 1))) {
    return false;
  }
  patch.gpa = *gpa;
  patches_.emplace(address, patch);
  return true;
}

void Breakpoints::restore(const Patch& patch) const {
  std::byte now{};
  if (view_.read_physical(patch.gpa, std::span(&now, 1)) && now == int3) {
    // What could be read a moment ago can be written; if not, there is nothing left to mend.
    [[maybe_unused]] const bool restored =
        view_.write_physical(patch.gpa, std::span(&patch.original, 1));
  }
}

void Breakpoints::remove(std::uint64_t address) {
  const auto found = patches_.find(address);
  if (found != patches_.end()) {
    restore(found->second);
    patches_.erase(found);
  }
}

void Breakpoints::remove_all() {
  for (const auto& [address, patch] : patches_) {
    restore(patch);
  }
  patches_.clear();
}

std::size_t Breakpoints::read(std::uint64_t cr3, std::uint64_t address,
                              std::span<std::byte> to) const {
  const std::size_t done = view_.read(cr3, address, to);
  for (auto patch = patches_.lower_bound(address);
       patch != patches_.end() && patch->first - address < done; ++patch) {
    std::byte& shown = to[patch->first - address];
    if (shown == int3) {
      shown = patch->second.original;
    }
  }
  return done;
}

bool Breakpoints::write(std::uint64_t cr3, std::uint64_t address, std::span<const std::byte> from) {
  std::vector<std::byte> bytes(from.begin(), from.end());
  const auto first = patches_.lower_bound(address);
  for (auto patch = first; patch != patches_.end() && patch->first - address < bytes.size();
       ++patch) {
    bytes[patch->first - address] = int3;
  }
  if (!view_.write(cr3, address, bytes)) {
    return false;
  }
  for (auto patch = first; patch != patches_.end() && patch->first - address < bytes.size();
       ++patch) {
    patch->second.original = from[patch->first - address];
  }
  return true;
}

} // namespace vmm
