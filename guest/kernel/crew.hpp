// SPDX-License-Identifier: MIT
// All vCPUs working on one job: vCPU 0 calls run(), the others serve. Who has nothing to do
// sleeps, and is woken by interrupt.
#pragma once

#include <atomic>
#include <cstdint>

namespace guest {

// How the crew sleeps and wakes; the kernel provides it.
class CrewPlatform {
 public:
  // Idles the calling vCPU until it is woken, or something else needs it; may return early.
  virtual void sleep() = 0;
  // Ends the vCPU's sleep, or its next one.
  virtual void wake(unsigned vcpu) = 0;

 protected:
  CrewPlatform() = default;
  ~CrewPlatform() = default;
};

class Crew {
 public:
  using Job = void (*)(void* context, unsigned vcpu);

  Crew(CrewPlatform& platform, unsigned vcpus) : platform_(platform), vcpus_(vcpus) {}

  // Calls job(context, n) on every vCPU n, on this one too, and returns when all have returned.
  // From vCPU 0 only, and not from within a job.
  void run(Job job, void* context);

  // The life of every other vCPU.
  [[noreturn]] void serve(unsigned vcpu);

 private:
  CrewPlatform& platform_;
  unsigned vcpus_;
  Job job_ = nullptr;                        // published by generation_
  void* context_ = nullptr;                  // likewise
  std::atomic<std::uint64_t> generation_{0}; // counts jobs
  std::atomic<unsigned> working_{0};         // other vCPUs that have not finished
};

} // namespace guest
