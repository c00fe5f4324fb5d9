// SPDX-License-Identifier: MIT
// Tells the guest when a stream that it waits for is ready: the vmm's input, output and errors,
// FileOperation::watch of shared/file_call.hpp. The guest's file calls say what is waited for, the
// thread that waits for the guest's end waits for that, too.
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "shared/hypercall.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/unique_fd.hpp"

namespace vmm {

class StreamWatch {
 public:
  static constexpr std::uint32_t streams = 3;
  static constexpr std::size_t descriptors = streams + 1;

  // `page` is vCPU 0's, in guest memory, and outlives this; `wake` interrupts that vCPU.
  static Result<std::unique_ptr<StreamWatch>> create(abi::VcpuPage& page,
                                                     std::function<void()> wake);
  StreamWatch(const StreamWatch&) = delete;
  StreamWatch& operator=(const StreamWatch&) = delete;

  // The guest wants to know when `stream`, 0 to 2, is ready for `events` of poll(2); 0: no longer.
  // On any thread.
  void watch(std::uint32_t stream, short events);

  // What to poll for now, and what came of it. On one thread.
  [[nodiscard]] std::array<pollfd, descriptors> wanted() const;
  void take(std::span<const pollfd, descriptors> events);

 private:
  StreamWatch(UniqueFd changed, abi::VcpuPage& page, std::function<void()> wake)
      : changed_(std::move(changed)), page_(page), wake_(std::move(wake)) {}

  UniqueFd changed_;
  abi::VcpuPage& page_;
  std::function<void()> wake_;
  std::array<std::atomic<short>, streams> events_{}; // that are waited for
};

} // namespace vmm
