// SPDX-License-Identifier: MIT
#include "guest/program/program_contexts.hpp"

#include <cerrno>
#include <cstring>

#include "guest/arch/thread_switch.hpp"

namespace guest {

namespace {

struct StackContext final : linux::Context {
  // `block` is the stack, and is freed with this; null: the first thread's, which is the guest's.
  StackContext(Kernel& pages, void* block) : kernel(pages), stack(block) {}
  StackContext(const StackContext&) = delete;
  StackContext& operator=(const StackContext&) = delete;
  ~StackContext() override {
    if (stack != nullptr) {
      kernel.free_pages(stack, ProgramContexts::stack_order);
    }
  }

  [[nodiscard]] std::uint64_t top() const {
    return arch::address_of(stack).value + ProgramContexts::stack_order.bytes();
  }

  Kernel& kernel;
  void* stack;
  // While it does not run.
  std::uint64_t stack_top = 0;
  std::uint64_t stack_pointer = 0;
  std::uint64_t thread_pointer = 0;
};

} // namespace

std::unique_ptr<linux::Context> ProgramContexts::first() {
  return std::make_unique<StackContext>(kernel_, nullptr);
}

linux::Or<std::unique_ptr<linux::Context>>
ProgramContexts::copy_running(std::uint64_t stack, std::optional<std::uint64_t> thread_pointer) {
  void* const block = kernel_.allocate_pages(stack_order);
  if (block == nullptr) {
    return std::unexpected(EAGAIN);
  }
  auto context = std::make_unique<StackContext>(kernel_, block);
  context->stack_top = context->top();
  context->thread_pointer = thread_pointer.value_or(arch::thread_pointer());
  auto& start =
      *arch::pointer_to<arch::NewThreadStack>({context->stack_top - sizeof(arch::NewThreadStack)});
  const arch::ProgramCall& call = arch::call_at_hand();
  arch::save_extended_state(start.extended_state);
  std::memcpy(start.kept, call.kept, sizeof start.kept);
  start.frame[0] = arch::address_of(start.kept).value;
  start.frame[1] = start.frame[0];
  start.landing = reinterpret_cast<std::uint64_t>(&arch::program_thread_landing);
  std::memcpy(start.vectors, reinterpret_cast<const std::byte*>(&call) - sizeof start.vectors,
              sizeof start.vectors);
  start.call = call;
  if (stack != 0) {
    start.call.rsp = stack;
  }
  context->stack_pointer = arch::address_of(start.frame).value;
  return context;
}

void ProgramContexts::change(linux::Context& from, linux::Context& to) {
  auto& before = static_cast<StackContext&>(from);
  auto& next = static_cast<StackContext&>(to);
  before.stack_top = arch::kernel_stack_top();
  before.thread_pointer = arch::thread_pointer();
  arch::kernel_stack_top() = next.stack_top;
  arch::set_thread_pointer(next.thread_pointer);
  arch::switch_stacks(&before.stack_pointer, next.stack_pointer);
}

} // namespace guest
