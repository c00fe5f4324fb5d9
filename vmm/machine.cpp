// SPDX-License-Identifier: MIT
#include "vmm/machine.hpp"

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "vmm/base/clock.hpp"
#include "vmm/measure/auto_policy.hpp"

namespace vmm {

namespace {

RunTimes::Usage process_usage() {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  rusage usage = {};
  static_cast<void>(::getrusage(RUSAGE_SELF, &usage)); // cannot fail
  return {static_cast<std::uint64_t>(usage.ru_minflt),
          seconds(usage.ru_utime) + seconds(usage.ru_stime)};
}

} // namespace

// Without measured units (order=auto comes by the control socket) it takes usual ones.
abi::ReportPolicy Machine::automatic(const abi::ReportPolicy& policy) const {
  return auto_policy(unit_costs_.value_or(UnitCosts{}), config_.memory_price_ns, policy);
}

GuestEnding Machine::run(const BlockedSignals& signals, Sandbox& sandbox) {
  if (const auto started = start_threads(sandbox); !started) {
    end_->end({EndKind::host_failed, 0, started.error().message});
  }
  times_.first_run_ns = monotonic_ns();
  vcpu_threads_.run_first();
  while (!end_->ended()) {
    std::array<pollfd, 2> events{pollfd{end_->stop_fd(), POLLIN, 0},
                                 pollfd{signals.fd(), POLLIN, 0}};
    static_cast<void>(::poll(events.data(), events.size(), -1));
    const int signal = signals.take();
    if (signal == BlockedSignals::toggle) {
      report_control_->toggle();
    } else if ((signal == SIGWINCH || signal == SIGCONT) && on_terminal_) {
      on_terminal_(signal);
    } else if (BlockedSignals::is_ending(signal)) {
      end_->end({EndKind::interrupted, static_cast<std::uint8_t>(signal),
                 "interrupted by " + BlockedSignals::name_of(signal)});
      if (on_interrupted_) {
        on_interrupted_();
      }
    }
  }
  // Whatever the rest waits for (a reader of the console, say), the user can end it.
  BlockedSignals::let_through();
  control_socket_.reset(); // nobody asks or changes anything any more
  if (debugger_) {
    debugger_->end();
  }
  if (gate_) {
    gate_->open_for_good();
  }
  vcpu_threads_.stop();
  gdb_server_.reset(); // tells a debugger of the end
  hints_->stop();
  sampler_->end(); // if the workload did not: an interrupted run has a footprint, too
  sampler_->stop();
  GuestEnding ending = end_->ending();
  if (stepper_) {
    stepper_->at_end(ending, signals.late_fd());
  }
  if (trace_ && trace_->has_begun()) {
    trace_->stop(ending);
  }
  return ending;
}

// All threads that there will ever be, also those that the guest may ask for or not: once it runs,
// the sandbox lets no more be made.
Result<void> Machine::start_threads(Sandbox& sandbox) {
  kvm_.close(); // with it could be made further machines
  if (trace_) {
    EBB_TRY(trace_->begin());
    trace_->boot();
  }
  EBB_TRY(sandbox.give_up_privileges());
  unsigned threads = plan_.vcpus + 1; // the sampler
  if (control_socket_) {
    EBB_TRY(control_socket_->start(sandbox.start_of(ThreadKind::control)));
    ++threads;
  }
  if (gdb_server_) {
    // Asks for nothing before there are vCPUs to kick.
    EBB_TRY(gdb_server_->start([this, &sandbox] {
      sandbox.enter(ThreadKind::debugger);
      vcpu_threads_.wait_for_first();
    }));
    ++threads;
  }
  if (trace_) {
    EBB_TRY(trace_->start(sandbox.start_of(ThreadKind::trace)));
    ++threads;
  }
  // Shows nothing of a guest that does not run yet.
  EBB_TRY(sampler_->start([this, &sandbox] {
    sandbox.enter(ThreadKind::sampler);
    vcpu_threads_.wait_for_first();
  }));
  EBB_TRY(vcpu_threads_.start(sandbox.start_of(ThreadKind::vcpu)));
  EBB_TRY_ASSIGN(serving, hints_->make_threads(sandbox.start_of(ThreadKind::worker)));
  threads += serving;
  return sandbox.complete(threads);
}

void Machine::on_call(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
  trace_->hypercall(vcpu, call, argument);
  if (stepper_) {
    stepper_->at_hypercall(vcpu, call, argument);
  }
}

std::optional<OracleTotals> Machine::oracle() const {
  return oracle_ ? std::optional(oracle_->totals()) : std::nullopt;
}

void Machine::on_hello(const abi::GuestHello& hello) {
  if (oracle_) {
    if (const auto configured = oracle_->configure(hello); !configured) {
      end_->end({EndKind::crashed, 0, "guest crash: " + configured.error().message});
      return;
    }
  }
  if (trace_) {
    trace_->negotiated(hello);
  }
  if (wake_lines_ && (hello.features_accepted & abi::feature_interrupt) != 0) {
    wake_lines_->allow();
  }
  hints_->configure(hello, config_.check_hints);
  if (trace_) {
    trace_->host_mode(hints_->mode(), config_.workers);
  }
  // The allocator's metadata lies below what it manages and is touched as thinly as the rest of the
  // low area. Only advice: failing costs memory, not correctness.
  [[maybe_unused]] const auto advised = memory_.set_small_page_prefix({hello.managed_start_gpa});
  report_control_->set_reader((hello.features_accepted & abi::feature_retune) != 0
                                  ? ControlReader::present
                                  : ControlReader::absent);
  if (hints_->mode() == HostMode::sync || config_.transport != Transport::ioeventfd) {
    return;
  }
  for (unsigned index = 0; index < plan_.vcpus; ++index) {
    // Without the binding doorbells arrive as exits, which are dearer but work.
    [[maybe_unused]] const auto bound =
        vm_.bind_doorbell(hints_->doorbell_fd(index), EBB_PORT_DOORBELL, index);
  }
}

void Machine::on_workload_begin() {
  if (trace_) {
    trace_->workload_begin();
  }
  times_.at_begin = process_usage();
  times_.workload_begin_ns = monotonic_ns();
  if (reuse_) {
    reuse_->begin(times_.workload_begin_ns);
  }
  sampler_->begin();
}

void Machine::on_workload_end(std::uint64_t since_last_free_ns) {
  sampler_->end();
  times_.workload_end_ns = monotonic_ns();
  times_.at_end = process_usage();
  if (reuse_) {
    reuse_->end(times_.workload_end_ns);
  }
  if (trace_) {
    trace_->workload_end();
  }
  const std::uint64_t age = std::min(since_last_free_ns, times_.workload_end_ns);
  settled_ = sampler_->settle(times_.workload_end_ns - age);
}

std::optional<OrderUses> Machine::order_uses() const {
  return reuse_ ? std::optional(reuse_->uses()) : std::nullopt;
}

std::uint64_t Machine::discard_ns() const {
  return reuse_ ? reuse_->discard_cpu_ns() : hints_->totals().host_ns;
}

} // namespace vmm
