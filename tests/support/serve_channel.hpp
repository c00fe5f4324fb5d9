// SPDX-License-Identifier: MIT
// A synchronous host of one channel, reduced to the batch's way: taken, processed, answered.
#pragma once

#include <cstdint>

#include "vmm/hints/batch_processor.hpp"
#include "vmm/hints/channel_server.hpp"

namespace test_support {

// Does so with what is submitted, at most ring_entries batches. Returns how many.
inline std::uint32_t serve(vmm::ChannelServer& server, vmm::BatchProcessor& processor) {
  vmm::Batch batch;
  std::uint32_t served = 0;
  while (served < abi::ring_entries && server.take(batch)) {
    ++served;
    processor.process(batch);
    server.answer(batch);
  }
  return served;
}

} // namespace test_support
