// SPDX-License-Identifier: MIT
// Gives up reserve and delays of a running guest while the host's memory is short, by a thread of
// its own, which sleeps until the kernel tells.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/control/pressure_files.hpp"
#include "vmm/control/report_control_writer.hpp"

namespace vmm {

class PressureWatch {
 public:
  // Two of the kernel's windows: it tells once in each.
  static constexpr std::chrono::milliseconds usual_calm{4000};

  // Pressure lasts until nothing was told for `calm`. `report` outlives the watch. Environment
  // error when the host is out of descriptors.
  static Result<std::unique_ptr<PressureWatch>> create(std::vector<PressureFile> files,
                                                       ReportControlWriter& report,
                                                       std::chrono::milliseconds calm = usual_calm);
  PressureWatch(const PressureWatch&) = delete;
  PressureWatch& operator=(const PressureWatch&) = delete;
  ~PressureWatch() { stop(); }

  [[nodiscard]] Result<void> start(ThreadStart on_start = {});
  // Ends the thread; the policy stays as it is.
  void stop();

 private:
  PressureWatch(std::vector<PressureFile> files, ReportControlWriter& report,
                std::chrono::milliseconds calm, Event stopped)
      : files_(std::move(files)), report_(report), calm_(calm), stopped_(std::move(stopped)) {}
  void run();
  // What poll() has told, in the order of files_: whether it is pressure.
  bool take(const std::vector<short>& news);

  std::vector<PressureFile> files_;
  ReportControlWriter& report_;
  const std::chrono::milliseconds calm_;
  const Event stopped_;
  Thread thread_; // last: it uses the others
};

} // namespace vmm
