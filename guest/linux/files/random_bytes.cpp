// SPDX-License-Identifier: MIT
#include "guest/linux/files/random_bytes.hpp"

#include <algorithm>
#include <cerrno>

namespace guest::linux {

Or<std::uint64_t> fill_with_random(FilePort& port, std::span<std::byte> to) {
  std::uint64_t done = 0;
  while (done < to.size()) {
    const abi::FileResult got = port.perform(
        {.operation = abi::FileOperation::random,
         .buffer_gpa = address_of(to.data() + done),
         .buffer_bytes = std::min<std::uint64_t>(to.size() - done, abi::random_bytes)});
    if (got <= 0) {
      const int error = got == 0 ? EIO : static_cast<int>(-got);
      return done != 0 ? Or<std::uint64_t>(done) : std::unexpected(error);
    }
    done += static_cast<std::uint64_t>(got);
  }
  return done;
}

Or<std::uint64_t> RandomBytes::fill(std::span<std::byte> to) {
  if (to.size() > most_kept) {
    return fill_with_random(port_, to);
  }
  if (left_ < to.size()) {
    const Or<std::uint64_t> got = fill_with_random(port_, kept_);
    if (!got || *got < kept_.size()) {
      left_ = 0;
      return fill_with_random(port_, to);
    }
    left_ = kept_.size();
  }
  const auto next = std::span(kept_).last(left_).first(to.size());
  std::ranges::copy(next, to.begin());
  std::ranges::fill(next, std::byte{0}); // nobody finds it here later
  left_ -= to.size();
  return to.size();
}

} // namespace guest::linux
