// SPDX-License-Identifier: MIT
// Tells metrics while a guest runs, by a thread of its own: a file that is replaced, a file that
// grows by lines, or a socket that gives each client one text and closes.
//
// Clients are not read from and not waited for: one that does not take what fits into its socket
// has had it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "vmm/base/event.hpp"
#include "vmm/base/result.hpp"
#include "vmm/base/thread.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/io/replaced_file.hpp"
#include "vmm/io/unix_listener.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/settings/metrics_request.hpp"

namespace vmm {

class MetricsOutput {
 public:
  using Source = std::function<RunStats()>; // what there is to tell now; on the thread

  // User error when that place cannot be written.
  static Result<std::unique_ptr<MetricsOutput>>
  create(const MetricsRequest& request, std::chrono::milliseconds period, Source source);
  MetricsOutput(const MetricsOutput&) = delete;
  MetricsOutput& operator=(const MetricsOutput&) = delete;
  ~MetricsOutput() { stop(); }

  [[nodiscard]] Result<void> start(ThreadStart on_start = {});
  // Tells a last time, of a guest that has ended, and ends the thread.
  void stop();
  // After stop(): why the last of it could not be written.
  [[nodiscard]] const Result<void>& result() const { return result_; }

 private:
  struct Lines {
    std::string name; // how messages begin
    UniqueFd file;
  };
  using Target = std::variant<ReplacedFile, Lines, UnixListener>;

  MetricsOutput(Target target, std::chrono::milliseconds period, Source source, Event stopped)
      : target_(std::move(target)), period_(period), source_(std::move(source)),
        stopped_(std::move(stopped)) {}
  static Result<Target> open(const MetricsRequest& request);
  void run();
  [[nodiscard]] Result<void> tell(const ReplacedFile& file) const;
  [[nodiscard]] Result<void> tell(const Lines& lines) const;
  [[nodiscard]] Result<void> tell(const UnixListener& listener) const;

  const Target target_;
  const std::chrono::milliseconds period_;
  const Source source_;
  const Event stopped_;
  Result<void> result_;
  Thread thread_; // last: it uses the others
};

} // namespace vmm
