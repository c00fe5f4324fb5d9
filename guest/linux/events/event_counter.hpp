// SPDX-License-Identifier: MIT
// A number that writes add to, and a read takes: eventfd(2). Pure.
#pragma once

#include <cstdint>

#include "guest/linux/events/nameless_file.hpp"

namespace guest::linux {

class EventCounter final : public NamelessFile {
 public:
  // What a read takes: all of it, or one (EFD_SEMAPHORE).
  enum class Reading : std::uint8_t { all, one };
  EventCounter(std::uint64_t count, Reading reading) : count_(count), reading_(reading) {}

  // 8 bytes each; EINVAL where there are fewer.
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override;
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override;
  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;

 private:
  static constexpr std::uint64_t most = UINT64_MAX - 1;

  std::uint64_t count_;
  Reading reading_;
  std::uint64_t additions_ = 0; // ever
  std::uint64_t takings_ = 0;
};

} // namespace guest::linux
