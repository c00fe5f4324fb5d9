// SPDX-License-Identifier: MIT
// What a CallThread looks after.
#pragma once

#include <cstdint>

namespace vmm {

enum class Watching : std::uint32_t { no, yes };

// All of it is called on one thread.
class CallSource {
 public:
  CallSource() = default;
  CallSource(const CallSource&) = delete;
  CallSource& operator=(const CallSource&) = delete;
  virtual ~CallSource() = default;

  // Carries out and answers what is asked for by now. False: nothing is.
  [[nodiscard]] virtual bool answer() = 0;
  // Whether whoever asks from now on need not wake the thread.
  virtual void tell(Watching watching) = 0;

  // A descriptor that is readable while there is something beside calls to take; -1: there is
  // never.
  [[nodiscard]] virtual int events_fd() const { return -1; }
  // Takes it, in bounded time. False: there was nothing.
  [[nodiscard]] virtual bool take_events() { return false; }
};

} // namespace vmm
