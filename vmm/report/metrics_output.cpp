// SPDX-License-Identifier: MIT
#include "vmm/report/metrics_output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <utility>

#include "vmm/io/write_all.hpp"
#include "vmm/report/metrics.hpp"

namespace vmm {
namespace {

constexpr mode_t everybody = 0666; // less the umask
// How long nobody is taken in after the host could not.
constexpr int accept_again_ms = 100;

double unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) /
         1e3;
}

} // namespace

Result<MetricsOutput::Target> MetricsOutput::open(const MetricsRequest& request) {
  const std::string option = "--metrics";
  switch (request.form) {
  case MetricsForm::file: {
    EBB_TRY_ASSIGN(file, ReplacedFile::create(option, request.path));
    return Target(std::move(file));
  }
  case MetricsForm::lines: {
    Lines lines{option + " " + request.path, {}};
    struct stat status {};
    lines.file = UniqueFd(::open(request.path.c_str(),
                                 O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
                                 everybody));
    if (!lines.file.valid() || ::fstat(lines.file.get(), &status) != 0) {
      return user_error("{}: cannot be written: {}", lines.name, errno_text(errno));
    }
    if (!S_ISREG(status.st_mode)) { // whose reader could hold up the end
      return user_error("{}: is no regular file", lines.name);
    }
    return Target(std::move(lines));
  }
  case MetricsForm::socket: {
    EBB_TRY_ASSIGN(listener, UnixListener::create(option, request.path));
    return Target(std::move(listener));
  }
  }
  return user_error("{}: no such form", option);
}

Result<std::unique_ptr<MetricsOutput>> MetricsOutput::create(const MetricsRequest& request,
                                                             std::chrono::milliseconds period,
                                                             Source source) {
  EBB_TRY_ASSIGN(target, open(request));
  EBB_TRY_ASSIGN(stopped, Event::create("metrics"));
  return std::unique_ptr<MetricsOutput>(
      new MetricsOutput(std::move(target), period, std::move(source), std::move(stopped)));
}

Result<void> MetricsOutput::start(ThreadStart on_start) {
  EBB_TRY_ASSIGN(thread, Thread::make("metrics", std::move(on_start), [this] { run(); }));
  thread_ = std::move(thread);
  return {};
}

void MetricsOutput::stop() {
  stopped_.set();
  thread_.join();
}

void MetricsOutput::run() {
  const auto* const listener = std::get_if<UnixListener>(&target_);
  bool failed = false; // to take a client in
  while (true) {
    std::array<pollfd, 2> events{
        {{stopped_.fd(), POLLIN, 0},
         {listener != nullptr && !failed ? listener->fd() : -1, POLLIN, 0}}};
    const int wait_ms = listener == nullptr ? static_cast<int>(period_.count()) : -1;
    const int ready = ::poll(events.data(), events.size(), failed ? accept_again_ms : wait_ms);
    if (ready < 0) {
      continue; // a signal
    }
    const bool stopping = events[0].revents != 0;
    // Clients that came before the end are served; one that cannot be taken in stays in the queue.
    if (listener == nullptr || events[1].revents != 0) {
      result_ = std::visit([this](const auto& target) { return tell(target); }, target_);
    }
    failed = listener != nullptr && !result_;
    result_ = listener != nullptr ? Result<void>{} : std::move(result_);
    if (stopping) {
      return;
    }
  }
}

Result<void> MetricsOutput::tell(const ReplacedFile& file) const {
  return file.put(prometheus_text(source_()));
}

Result<void> MetricsOutput::tell(const Lines& lines) const {
  const int error = write_all(lines.file.get(), metrics_line(source_(), unix_seconds()) + "\n");
  return error == 0 ? Result<void>{}
                    : environment_error("{}: cannot be written: {}", lines.name, errno_text(error));
}

Result<void> MetricsOutput::tell(const UnixListener& listener) const {
  const UniqueFd client(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) {
    const bool gone = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    return gone ? Result<void>{} : environment_error("accept: {}", errno_text(errno));
  }
  const std::string text = prometheus_text(source_());
  static_cast<void>(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  // What it has said is not heard, but must not turn its end of file into an error.
  std::array<char, 4096> ignored{};
  static_cast<void>(::recv(client.get(), ignored.data(), ignored.size(), MSG_DONTWAIT));
  return {};
}

} // namespace vmm
