// SPDX-License-Identifier: MIT
#include "guest/kernel/crew.hpp"

namespace guest {

void Crew::run(Job job, void* context) {
  job_ = job;
  context_ = context;
  working_.store(vcpus_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  for (unsigned vcpu = 1; vcpu < vcpus_; ++vcpu) {
    platform_.wake(vcpu);
  }
  job(context, 0);
  while (working_.load(std::memory_order_acquire) != 0) {
    platform_.sleep();
  }
}

void Crew::serve(unsigned vcpu) {
  std::uint64_t done = 0;
  for (;;) {
    // A wake that comes between this look and the sleep ends that sleep at once.
    if (generation_.load(std::memory_order_acquire) == done) {
      platform_.sleep();
      continue;
    }
    ++done;
    job_(context_, vcpu);
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      platform_.wake(0);
    }
  }
}

} // namespace guest
