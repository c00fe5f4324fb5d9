// SPDX-License-Identifier: MIT
// What the machine keeps of a thread while it does not run: its registers, and its stack in the
// kernel. Made up by hosted tests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "guest/linux/base/error_number.hpp"

namespace guest::linux {

class Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  virtual ~Context() = default;
};

class Contexts {
 public:
  // That of the program's first thread, which runs.
  [[nodiscard]] virtual std::unique_ptr<Context> first() = 0;
  // A new one that goes on as the running one does behind the call at hand, whose answer is 0
  // there, but with a stack of its own (0: the same), and what it finds its data by, if that is
  // another. EAGAIN: no memory for its stack in the kernel.
  [[nodiscard]] virtual Or<std::unique_ptr<Context>>
  copy_running(std::uint64_t stack, std::optional<std::uint64_t> thread_pointer) = 0;
  // Goes on with `to`. Returns when something goes on with `from`, the running one.
  virtual void change(Context& from, Context& to) = 0;

 protected:
  Contexts() = default;
  ~Contexts() = default;
};

} // namespace guest::linux
