// SPDX-License-Identifier: MIT
#include "vmm/watch.hpp"

#include <algorithm>
#include <utility>

#include "shared/guest_status.hpp"
#include "vmm/base/clock.hpp"
#include "vmm/boot/image_symbols.hpp"
#include "vmm/io/file.hpp"

namespace vmm {
namespace {

// `target` is taken if it is recorded from the start.
Result<std::unique_ptr<TraceRecorder>>
make_recorder(const Config& config, const GuestMachine& guest, std::optional<TraceTarget>& target) {
  if (!config.may_record()) {
    return nullptr;
  }
  const TraceRun run{.level = config.trace_level,
                     .ring_bytes = config.trace_bytes,
                     .vcpus = guest.plan().vcpus,
                     .tsc_khz = guest.tsc_khz(),
                     .policy = config.report,
                     .method = config.discard,
                     .image = absolute_path(config.image),
                     .image_hash = image_hash(guest.image().bytes),
                     .host = std::string(name_of(config.host)),
                     .guest_writes = config.guest_is_traced};
  if (!config.records()) {
    return TraceRecorder::create_idle(run, guest.memory());
  }
  if (!target) {
    EBB_TRY_ASSIGN(unnamed, TraceTarget::unnamed());
    target.emplace(std::move(unnamed));
  }
  TraceTarget taken = std::move(*target);
  target.reset();
  return TraceRecorder::create(std::move(taken), run, guest.memory());
}

std::unique_ptr<TraceSwitch> make_switch(const Config& config, TraceRecorder* recorder,
                                         std::optional<TraceTarget> own) {
  if (recorder == nullptr) {
    return nullptr;
  }
  return std::make_unique<TraceSwitch>(*recorder, config.trace, std::move(own),
                                       config.step ? TraceSwitch::Held::by_stepper
                                                   : TraceSwitch::Held::no);
}

// What measuring needs and the host does not have is done without: measuring is no condition of
// running.
template <typename Owner> std::unique_ptr<Owner> if_possible(Result<Owner> made) {
  return made ? std::make_unique<Owner>(std::move(*made)) : nullptr;
}

std::unique_ptr<Oracle> make_oracle(const Config& config, const GuestMemory& memory,
                                    GuestEnd& end) {
  if (config.oracle != OracleUse::on) {
    return nullptr;
  }
  return std::make_unique<Oracle>(memory, [&end](const std::string& what) {
    end.end({EndKind::host_failed, 0, what});
  });
}

std::unique_ptr<EverResident> make_ever_resident(const GuestMemory& memory, const FrameScan* scan) {
  if (scan == nullptr) {
    return nullptr;
  }
  auto lookup = FrameScan::create(memory);
  return lookup ? std::make_unique<EverResident>(memory, std::move(*lookup)) : nullptr;
}

} // namespace

Result<std::unique_ptr<Watch>> Watch::create(const Config& config, const GuestMachine& guest,
                                             GuestEnd& end, std::optional<UnitCosts> unit_costs,
                                             std::optional<TraceTarget> trace, SampleShown shown) {
  EBB_TRY_ASSIGN(recorder, make_recorder(config, guest, trace));
  auto trace_switch = make_switch(config, recorder.get(), std::move(trace));
  return std::unique_ptr<Watch>(new Watch(config, guest, end, unit_costs, std::move(recorder),
                                          std::move(trace_switch), std::move(shown)));
}

Watch::Watch(const Config& config, const GuestMachine& guest, GuestEnd& end,
             std::optional<UnitCosts> unit_costs, std::unique_ptr<TraceRecorder> trace,
             std::unique_ptr<TraceSwitch> trace_switch, SampleShown shown)
    : unit_costs_(unit_costs), memory_price_ns_(config.memory_price_ns), trace_(std::move(trace)),
      switch_(std::move(trace_switch)), oracle_(make_oracle(config, guest.memory(), end)),
      scan_(if_possible(FrameScan::create(guest.memory()))),
      meter_(if_possible(ResidentMeter::create(guest.memory(), scan_.get()))),
      ever_resident_(make_ever_resident(guest.memory(), scan_.get())),
      reuse_(scan_ && config.keeps_ledger() ? std::make_unique<ReuseWatch>(guest.memory())
                                            : nullptr),
      sampler_(sources(guest, std::move(shown)), config.sample_period), discard_moments_(sampler_) {
  subscribe();
}

SamplerSources Watch::sources(const GuestMachine& guest, SampleShown shown) {
  SamplerSources sources{
      .resident_bytes = {},
      .guest = [&status = guest.status()] { return read_guest_sample(status); },
      .ever_resident_bytes =
          [ever = ever_resident_.get()] {
            return ever != nullptr ? std::optional(ever->bytes()) : std::nullopt;
          },
      .now_ns = monotonic_ns,
      .wait_ns = monotonic_wait_ns,
      .observer =
          [trace = trace_.get(), shown = std::move(shown)](const MemorySample& sample) {
            if (trace != nullptr) {
              trace->memory_sample(sample);
            }
            if (shown) {
              shown(sample);
            }
          }};
  if (meter_) {
    sources.resident_bytes = [meter = meter_.get()](std::uint64_t now_ns, Occasion occasion) {
      return meter->sample(now_ns, occasion);
    };
  }
  return sources;
}

// Of batches the oracle hears first: it holds a batch's memory while the others look at it. The
// watch for reuse hears last: it measures what discarding costs, not what watching does.
void Watch::subscribe() {
  const auto to_scan = [this](FrameWatcher* watcher) {
    if (scan_ && watcher != nullptr) {
      scan_->subscribe(*watcher);
    }
  };
  to_scan(oracle_.get());
  to_scan(ever_resident_.get());
  to_scan(reuse_.get());
  to_scan(trace_.get());
  const auto to_hints = [this](HintObserver* observer) {
    if (observer != nullptr) {
      observers_.add(*observer);
    }
  };
  to_hints(oracle_.get());
  to_hints(trace_.get());
  to_hints(&discard_moments_);
  to_hints(ever_resident_.get());
  to_hints(reuse_.get());
}

Result<void> Watch::begin_trace() {
  if (trace_) {
    EBB_TRY(trace_->begin());
    trace_->boot();
  }
  return {};
}

Result<unsigned> Watch::start(Sandbox& sandbox, const VcpuThreads& vcpus) {
  unsigned threads = 0;
  if (trace_) {
    EBB_TRY(trace_->start(sandbox.start_of(ThreadKind::trace)));
    ++threads;
  }
  EBB_TRY(sampler_.start([&sandbox, &vcpus] {
    sandbox.enter(ThreadKind::sampler);
    vcpus.wait_for_first();
  }));
  return threads + 1;
}

RunTimes Watch::times() const {
  const std::scoped_lock lock(times_mutex_);
  return times_;
}

void Watch::on_first_run() {
  const std::scoped_lock lock(times_mutex_);
  times_.first_run_ns = monotonic_ns();
}

Result<void> Watch::on_hello(const abi::GuestHello& hello) {
  if (oracle_) {
    EBB_TRY(oracle_->configure(hello));
  }
  if (trace_) {
    trace_->negotiated(hello);
  }
  return {};
}

void Watch::on_workload_begin() {
  if (trace_) {
    trace_->workload_begin();
  }
  const RunTimes::Usage usage = process_usage();
  const std::uint64_t now_ns = monotonic_ns();
  {
    const std::scoped_lock lock(times_mutex_);
    times_.at_begin = usage;
    times_.workload_begin_ns = now_ns;
  }
  if (reuse_) {
    reuse_->begin(now_ns);
  }
  sampler_.begin();
}

void Watch::on_workload_end(std::uint64_t since_last_free_ns) {
  sampler_.end();
  const std::uint64_t now_ns = monotonic_ns();
  const RunTimes::Usage usage = process_usage();
  {
    const std::scoped_lock lock(times_mutex_);
    times_.workload_end_ns = now_ns;
    times_.at_end = usage;
  }
  if (reuse_) {
    reuse_->end(now_ns);
  }
  if (trace_) {
    trace_->workload_end();
  }
  settled_ = sampler_.settle(now_ns - std::min(since_last_free_ns, now_ns));
}

void Watch::stop_sampling() {
  sampler_.end(); // an interrupted run has a footprint, too
  sampler_.stop();
  if (oracle_) {
    oracle_->end();
  }
}

void Watch::stop_trace(const GuestEnding& ending) {
  if (trace_) {
    trace_->stop(ending);
  }
}

std::optional<OracleTotals> Watch::oracle_totals() const {
  return oracle_ ? std::optional(oracle_->totals()) : std::nullopt;
}

std::optional<OrderUses> Watch::order_uses() const {
  return reuse_ ? std::optional(reuse_->uses()) : std::nullopt;
}

std::optional<std::uint64_t> Watch::discard_cpu_ns() const {
  return reuse_ ? std::optional(reuse_->discard_cpu_ns()) : std::nullopt;
}

} // namespace vmm
