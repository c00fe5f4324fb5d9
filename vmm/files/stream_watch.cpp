// SPDX-License-Identifier: MIT
#include "vmm/files/stream_watch.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

namespace vmm {

Result<std::unique_ptr<StreamWatch>> StreamWatch::create(abi::VcpuPage& page,
                                                         std::function<void()> wake) {
  UniqueFd changed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!changed.valid()) {
    return system_error("cannot make a descriptor for streams");
  }
  return std::unique_ptr<StreamWatch>(new StreamWatch(std::move(changed), page, std::move(wake)));
}

void StreamWatch::watch(std::uint32_t stream, short events) {
  events_.at(stream).store(events, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(changed_.get(), &one, sizeof one);
}

std::array<pollfd, StreamWatch::descriptors> StreamWatch::wanted() const {
  std::array<pollfd, descriptors> polled{};
  polled[streams] = {changed_.get(), POLLIN, 0};
  for (std::uint32_t stream = 0; stream < streams; ++stream) {
    const short events = events_.at(stream).load(std::memory_order_relaxed);
    polled.at(stream) = {events != 0 ? static_cast<int>(stream) : -1, events, 0};
  }
  return polled;
}

// A stream that is watched anew meanwhile is looked at again: what the guest is told too often does
// no harm.
void StreamWatch::take(std::span<const pollfd, descriptors> events) {
  if (events[streams].revents != 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(changed_.get(), &count, sizeof count);
  }
  std::uint64_t ready = 0;
  for (std::uint32_t stream = 0; stream < streams; ++stream) {
    if (events[stream].fd >= 0 && events[stream].revents != 0) {
      short was = events[stream].events;
      events_.at(stream).compare_exchange_strong(was, 0, std::memory_order_relaxed);
      ready |= std::uint64_t{1} << stream;
    }
  }
  if (ready != 0) {
    std::atomic_ref(page_.streams_ready).fetch_or(ready, std::memory_order_release);
    wake_();
  }
}

} // namespace vmm
