// SPDX-License-Identifier: MIT
// What code compiled with -fsanitize=thread tells of each of its accesses to memory, told to
// somebody else than ThreadSanitizer: it is linked with access_hooks.cpp in the place of that.
#pragma once

#include <cstdint>

namespace sharing {

class AccessListener {
 public:
  AccessListener(const AccessListener&) = delete;
  AccessListener& operator=(const AccessListener&) = delete;
  virtual void read(std::uint64_t address, std::uint64_t bytes) = 0;
  // An atomic change of a value, too.
  virtual void written(std::uint64_t address, std::uint64_t bytes) = 0;
  // An atomic exchange of a bool, which also counts as written: FairLock takes itself so.
  virtual void lock_taken() = 0;

 protected:
  AccessListener() = default;
  ~AccessListener() = default;
};

// Who hears of accesses from now on, of all threads; null: nobody. It must not be instrumented. Who
// did until now.
AccessListener* listen(AccessListener* listener);

} // namespace sharing
