// SPDX-License-Identifier: MIT
// Threads of a hosted program (tests/support/linux/hosted_process.hpp): each has a stack of this
// process's, and does what a test has said that the next one does.
#pragma once

#include <sanitizer/asan_interface.h>
#include <ucontext.h>

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "guest/linux/threads/context.hpp"

namespace test_support {

class HostedContexts final : public guest::linux::Contexts {
 public:
  [[nodiscard]] std::unique_ptr<guest::linux::Context> first() override {
    return std::make_unique<Kept>();
  }
  [[nodiscard]] guest::linux::Or<std::unique_ptr<guest::linux::Context>>
  copy_running(std::uint64_t stack, std::optional<std::uint64_t> thread_pointer) override {
    last_stack = stack;
    last_thread_pointer = thread_pointer;
    if (bodies.empty()) {
      return std::unexpected(EAGAIN);
    }
    auto made = std::make_unique<Kept>();
    made->all = this;
    made->body = std::move(bodies.front());
    bodies.pop_front();
    made->stack.resize(std::size_t{256} << 10);
    ::getcontext(&made->registers);
    made->registers.uc_stack.ss_sp = made->stack.data();
    made->registers.uc_stack.ss_size = made->stack.size();
    const auto address = reinterpret_cast<std::uintptr_t>(made.get());
    ::makecontext(&made->registers, reinterpret_cast<void (*)()>(&begin), 2,
                  static_cast<unsigned>(address >> 32), static_cast<unsigned>(address));
    return made;
  }
  void change(guest::linux::Context& from, guest::linux::Context& to) override {
    ++changes;
    ::swapcontext(&static_cast<Kept&>(from).registers, &static_cast<Kept&>(to).registers);
  }

  // Does that, and throws what any thread throws meanwhile, which then never go on.
  template <typename Body> void until_end(Body body) {
    volatile bool has_begun = false;
    ::getcontext(&home_);
    if (!has_begun) {
      has_begun = true;
      body();
    } else {
      // Calls of the first thread that nobody has returned from have left their marks below.
      constexpr std::size_t deep = std::size_t{64} << 10;
      auto* const here = static_cast<std::byte*>(__builtin_frame_address(0));
      ASAN_UNPOISON_MEMORY_REGION(here - deep, deep);
      std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
  }

  // What the next threads do; each ends by exit, or the test does.
  std::deque<std::function<void()>> bodies;
  std::uint64_t changes = 0;
  std::uint64_t last_stack = 0;
  std::optional<std::uint64_t> last_thread_pointer;

 private:
  struct Kept final : guest::linux::Context {
    ucontext_t registers{};
    std::vector<std::byte> stack;
    std::function<void()> body;
    HostedContexts* all = nullptr;
  };
  static void begin(unsigned high, unsigned low) {
    const std::uintptr_t address = (std::uintptr_t{high} << 32) | low;
    auto& kept = *reinterpret_cast<Kept*>(address); // NOLINT(performance-no-int-to-ptr)
    try {
      kept.body();
    } catch (...) {
      kept.all->thrown_ = std::current_exception();
    }
    ::setcontext(&kept.all->home_);
  }

  ucontext_t home_{};
  std::exception_ptr thrown_;
};

} // namespace test_support
