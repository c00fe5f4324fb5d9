// SPDX-License-Identifier: MIT
// What no attack on the rings may change: the boot info, the image, a block that nobody hinted. And
// the proof that the host still serves: an honest hint, honestly answered.
#pragma once

#include <cstdint>

#include "guest/workload.hpp"
#include "tests/hostile/wire.hpp"

namespace hostile {

// A 4 MiB block for attacks to hint, so that what is really discarded is nobody's.
inline constexpr abi::Order prey_order{abi::max_order};

class Witness {
 public:
  explicit Witness(guest::Env& env);

  // First frame of the prey.
  [[nodiscard]] abi::Pfn prey() const { return prey_; }

  // Each ends the guest with exit status 1, and says why, when something is wrong.
  void check();
  // Checks, has `wire` carry an honest hint, prints "survived" and ends the guest with status 0.
  [[noreturn]] void testify(Wire& wire);
  // Unless `holds`, says what and ends the guest with exit status 1.
  void expect(bool holds, const char* what);

 private:
  [[nodiscard]] static std::uint64_t fingerprint();

  guest::Env& env_;
  void* block_;
  std::uint64_t fingerprint_;
  abi::Pfn prey_;
};

} // namespace hostile
