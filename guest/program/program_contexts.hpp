// SPDX-License-Identifier: MIT
// Threads of the program that do not run: each has a stack in the kernel with its registers, and
// what it finds its data by.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "guest/kernel/kernel.hpp"
#include "guest/linux/threads/context.hpp"

namespace guest {

class ProgramContexts final : public linux::Contexts {
 public:
  // 64 KiB: what loading another program takes, and room to spare; memory for what is touched.
  static constexpr abi::Order stack_order{4};

  explicit ProgramContexts(Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] std::unique_ptr<linux::Context> first() override;
  [[nodiscard]] linux::Or<std::unique_ptr<linux::Context>>
  copy_running(std::uint64_t stack, std::optional<std::uint64_t> thread_pointer) override;
  void change(linux::Context& from, linux::Context& to) override;

 private:
  Kernel& kernel_;
};

} // namespace guest
