// SPDX-License-Identifier: MIT
#include "vmm/hints/hint_workers.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <thread>
#include <utility>

#include "vmm/base/clock.hpp"

namespace vmm {
namespace {

// Tags of epoll events beside the channels' numbers.
constexpr std::uint64_t stop_tag = ~std::uint64_t{0};
constexpr std::uint64_t hand_off_tag = stop_tag - 1;

} // namespace

Result<std::unique_ptr<HintWorkers>> HintWorkers::create(const Ports& ports, unsigned count,
                                                         Serve serve) {
  std::unique_ptr<HintWorkers> workers(
      new HintWorkers(ports, std::clamp(count, 1U, max_host_workers), std::move(serve)));
  EBB_TRY(workers->open());
  return workers;
}

Result<void> HintWorkers::open() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  hand_off_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !stop_.valid() || !hand_off_.valid()) {
    return system_error("cannot make an eventfd for the host's workers");
  }
  EBB_TRY(watch(stop_.get(), stop_tag));
  EBB_TRY(watch(hand_off_.get(), hand_off_tag));
  for (const auto& port : ports_) {
    EBB_TRY(watch(port->doorbell_fd(), port->index()));
  }
  return {};
}

Result<void> HintWorkers::watch(int fd, std::uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return system_error("cannot watch a doorbell");
  }
  return {};
}

unsigned HintWorkers::make_threads(const ThreadStart& on_start) {
  for (unsigned worker = 0; worker < count_; ++worker) {
    auto thread =
        Thread::make("the host's workers", on_start, [this, worker](const std::stop_token& stop) {
          if (gate_.wait()) {
            mode_ == HostMode::poll ? run_poll(worker, stop) : run_async(worker, stop);
          }
        });
    if (!thread) {
      break;
    }
    threads_.push_back(std::move(*thread));
  }
  return static_cast<unsigned>(threads_.size());
}

bool HintWorkers::start(HostMode mode) {
  mode_ = mode;
  gate_.open();
  return !threads_.empty();
}

void HintWorkers::stop() {
  for (Thread& thread : threads_) {
    thread.request_stop();
  }
  gate_.cancel();
  // Never read, so it wakes every worker however often they wait.
  static_cast<void>(::eventfd_write(stop_.get(), 1));
  threads_.clear();
}

void HintWorkers::hand_off() {
  static_cast<void>(::eventfd_write(hand_off_.get(), 1));
}

void HintWorkers::run_async(unsigned worker, const std::stop_token& stop) {
  while (!stop.stop_requested() && wait_and_serve(worker, stop) == Wake::work) {
  }
}

// Sleeps until there is an event, then serves what it is about.
HintWorkers::Wake HintWorkers::wait_and_serve(unsigned worker, const std::stop_token& stop) {
  std::array<epoll_event, 4> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
  // A signal is no event: the caller comes again.
  const std::span<const epoll_event> ready =
      std::span(events).first(static_cast<std::size_t>(std::max(count, 0)));
  bool served = ready.empty();
  for (const epoll_event& event : ready) {
    if (event.data.u64 == stop_tag) {
      return Wake::stop;
    }
    if (event.data.u64 == hand_off_tag) {
      eventfd_t ignored = 0;
      static_cast<void>(::eventfd_read(hand_off_.get(), &ignored));
      served |= serve_all(worker, stop);
    } else {
      HintPort& port = *ports_[event.data.u64];
      port.take_doorbell();
      served |= serve_port(worker, port, stop);
    }
  }
  back_off_unless(served);
  return Wake::work;
}

void HintWorkers::back_off_unless(bool served) {
  if (served) {
    fruitless_.store(0, std::memory_order_relaxed);
    return;
  }
  if (fruitless_.fetch_add(1, std::memory_order_relaxed) < fruitless_limit) {
    return;
  }
  back_offs_.fetch_add(1, std::memory_order_relaxed);
  constexpr timespec duration{0, static_cast<long>(back_off_ns)};
  pollfd stop{stop_.get(), POLLIN, 0};
  static_cast<void>(::ppoll(&stop, 1, &duration, nullptr));
}

// At most one ring of batches, so that a guest that never stops submitting on one channel keeps
// nobody from the others. Returns whether there was any.
bool HintWorkers::serve_port(unsigned worker, HintPort& port, const std::stop_token& stop) {
  for (unsigned served = 0; served < abi::ring_entries; ++served) {
    if (stop.stop_requested() || !serve_(worker, port)) {
      return served != 0;
    }
  }
  if (port.has_submissions()) {
    hand_off();
  }
  return true;
}

bool HintWorkers::serve_all(unsigned worker, const std::stop_token& stop) {
  bool any = false;
  for (std::size_t step = 0; step < ports_.size(); ++step) {
    // Each worker begins elsewhere, so that they meet less.
    any |= serve_port(worker, *ports_[(worker + step) % ports_.size()], stop);
  }
  return any;
}

void HintWorkers::run_poll(unsigned worker, const std::stop_token& stop) {
  begin_polling();
  std::uint64_t idle_since_ns = monotonic_ns();
  while (!stop.stop_requested()) {
    if (serve_all(worker, stop)) {
      fruitless_.store(0, std::memory_order_relaxed);
      idle_since_ns = monotonic_ns();
      continue;
    }
    if (monotonic_ns() - idle_since_ns < spin_ns) {
      std::this_thread::yield();
      continue;
    }
    if (end_polling() == Idle::may_sleep && wait_and_serve(worker, stop) == Wake::stop) {
      return;
    }
    begin_polling();
    idle_since_ns = monotonic_ns();
  }
}

// The first one tells the guest not to ring. Waking for nothing (a doorbell that was rung while
// somebody was about to sleep) does no harm.
void HintWorkers::begin_polling() {
  const std::scoped_lock lock(polling_mutex_);
  if (polling_++ == 0) {
    for (const auto& port : ports_) {
      port->set_doorbell(DoorbellUse::silence);
    }
  }
}

// The last one asks for doorbells and looks once more. Work left means: poll again.
HintWorkers::Idle HintWorkers::end_polling() {
  const std::scoped_lock lock(polling_mutex_);
  if (--polling_ != 0) {
    sleeps_.fetch_add(1, std::memory_order_relaxed);
    return Idle::may_sleep;
  }
  for (const auto& port : ports_) {
    port->set_doorbell(DoorbellUse::ring);
  }
  if (std::any_of(ports_.begin(), ports_.end(),
                  [](const auto& port) { return port->has_submissions(); })) {
    return Idle::work_left;
  }
  sleeps_.fetch_add(1, std::memory_order_relaxed);
  return Idle::may_sleep;
}

} // namespace vmm
