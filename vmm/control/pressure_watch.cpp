// SPDX-License-Identifier: MIT
#include "vmm/control/pressure_watch.hpp"

#include <poll.h>

#include <span>
#include <utility>

namespace vmm {

Result<std::unique_ptr<PressureWatch>> PressureWatch::create(std::vector<PressureFile> files,
                                                             ReportControlWriter& report,
                                                             std::chrono::milliseconds calm) {
  EBB_TRY_ASSIGN(stopped, Event::create("memory pressure"));
  return std::unique_ptr<PressureWatch>(
      new PressureWatch(std::move(files), report, calm, std::move(stopped)));
}

Result<void> PressureWatch::start(ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread, Thread::make("memory pressure", std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void PressureWatch::stop() {
  stopped_.set();
  thread_.join();
}

void PressureWatch::run() {
  bool pressed = false;
  while (true) {
    std::vector<pollfd> events{{stopped_.fd(), POLLIN, 0}};
    for (const PressureFile& file : files_) {
      events.push_back({file.fd.get(), file.news, 0});
    }
    const int ready =
        ::poll(events.data(), events.size(), pressed ? static_cast<int>(calm_.count()) : -1);
    if (ready < 0) {
      continue; // a signal
    }
    if (events[0].revents != 0) {
      return;
    }
    std::vector<short> news;
    for (const pollfd& event : std::span(events).subspan(1)) {
      news.push_back(event.revents);
    }
    const bool now = take(news);
    if (now != pressed && (now || ready == 0)) {
      pressed = now;
      report_.set_pressure(now ? MemoryPressure::high : MemoryPressure::none);
    }
  }
}

bool PressureWatch::take(const std::vector<short>& news) {
  bool pressed = false;
  for (std::size_t index = 0; index < files_.size(); ++index) {
    PressureFile& file = files_[index];
    const PressureFile::News told = file.take(news[index]);
    pressed = pressed || told == PressureFile::News::pressure;
    if (told == PressureFile::News::gone) {
      file.fd = UniqueFd();
    }
  }
  return pressed;
}

} // namespace vmm
